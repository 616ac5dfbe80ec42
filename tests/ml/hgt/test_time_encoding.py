"""Ages of edges in the attention, against PyG on a graph in which every node has a copy an age."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.graph.adjacency import build_adjacency
from ml.graph.message_types import UNKNOWN_AGE, MessageType
from ml.hgt.layer import HGTLayer
from ml.hgt.time_encoding import TimeEncoding

DAYS = (1.0, 30.0)
CLASSES = (UNKNOWN_AGE, 0, 1, 2)
ORDER = [MessageType(*ends) for ends in (("a", "to", "a"), ("a", "to", "b"), ("b", "back", "a"))]
HEADS, HIDDEN = 2, 8


def layer_of(seed, backend, dtype=torch.float32):
    layer = HGTLayer(HIDDEN, HEADS, ("a", "b"), ORDER, edge_ages=DAYS, backend=backend)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return layer.to(dtype)


@st.composite
def cases(draw):
    """Edges by message type and age class, between up to six nodes of each type."""
    sizes = {name: draw(st.integers(1, 6)) for name in ("a", "b")}
    edges = {}
    for plain in ORDER:
        sources, targets = (st.integers(0, sizes[e] - 1) for e in (plain.source, plain.target))
        for age in CLASSES:
            found = draw(st.lists(st.tuples(sources, targets), max_size=8))
            edges[plain.of_age(age)] = torch.tensor(found, dtype=torch.long).reshape(-1, 2).T
    return sizes, edges, draw(st.integers(0, 2**20))


def of_pyg(layer, h_dict, edges):
    """Node v of age class c is node (c + 1) n + v: its state has the encoding of c added."""
    from torch_geometric.nn import HGTConv

    conv = HGTConv(HIDDEN, HIDDEN, (["a", "b"], [plain.key for plain in ORDER]), heads=HEADS).to(
        h_dict["a"].dtype
    )
    state = {n: p for n, p in layer.named_parameters() if not n.startswith("time.")}
    copies = {name: [h, *(h + one for one in layer.time())] for name, h in h_dict.items()}
    edge_dict = {}
    for plain in ORDER:
        shifted = [
            edges[plain.of_age(age)] + torch.tensor([[(age + 1) * len(h_dict[plain.source])], [0]])
            for age in CLASSES
        ]
        edge_dict[plain.key] = torch.cat(shifted, 1)
    out = torch.func.functional_call(
        conv, state, ({name: torch.cat(own) for name, own in copies.items()}, edge_dict)
    )
    return {name: out[name][: len(h)] for name, h in h_dict.items()}


def gradients(out, layer, h_dict):
    generator = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, generator=generator)).sum() for x in out.values())
    inputs = {f"h {name}": h for name, h in h_dict.items()} | dict(layer.named_parameters())
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    return dict(zip(inputs, found, strict=True))


def states(sizes, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(n, HIDDEN, generator=generator).to(dtype).requires_grad_()
        for name, n in sizes.items()
    }


@pytest.mark.parametrize(
    ("backend", "dtype", "close"),
    [
        ("numba", torch.float32, 2e-4),
        ("torch", torch.float32, 2e-4),
        ("torch", torch.float64, 1e-9),
    ],
)
@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_equals_pyg_with_a_copy_of_each_source_an_age(backend, dtype, close, case):
    sizes, edges, seed = case
    layer, h_dict = layer_of(seed, backend, dtype), states(sizes, seed, dtype)
    adjacency = build_adjacency(sizes, edges)
    got, expected = layer(h_dict, adjacency), of_pyg(layer, h_dict, edges)
    for name, h in got.items():
        torch.testing.assert_close(h, expected[name], rtol=close / 10, atol=close / 10)
    ours, theirs = gradients(got, layer, h_dict), gradients(expected, layer, h_dict)
    for name, one in ours.items():
        other = torch.zeros_like(one) if theirs[name] is None else theirs[name]
        torch.testing.assert_close(one, other, rtol=close, atol=close)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_rows_equal_the_rows_of_the_whole_pass(backend, case):
    sizes, edges, seed = case
    layer = layer_of(seed, backend)
    h_dict = {name: h.detach() for name, h in states(sizes, seed, torch.float32).items()}
    adjacency = build_adjacency(sizes, edges)
    with torch.no_grad():
        expected = layer(h_dict, adjacency)
    for name, h in h_dict.items():
        own = {m: r.by_target for m, r in adjacency.relations.items() if m.target == name}
        for tables in (None, layer.project_sources(h_dict)):
            got = layer.forward_rows(name, h, h_dict, own, tables=tables)
            torch.testing.assert_close(got, expected[name], rtol=1e-5, atol=1e-5)


def test_the_encoding_is_that_of_the_paper():
    """Sine and cosine of the age in turn, waves longer and longer, then a linear map."""
    encoding = TimeEncoding((1.0, 30.0), 6)
    expected = [
        [wave(days / 10_000 ** (2 * (i // 2) / 6)) for i, wave in enumerate([np.sin, np.cos] * 3)]
        for days in (0.0, 1.0, 30.0)
    ]
    np.testing.assert_allclose(encoding.base.numpy(), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        encoding.lin.weight.copy_(2 * torch.eye(6))
        encoding.lin.bias.fill_(1.0)
    np.testing.assert_allclose(
        encoding().detach().numpy(), 2 * np.array(expected) + 1, rtol=1e-5, atol=1e-5
    )


def test_before_the_first_step_ages_change_nothing():
    order, edges = ORDER[:1], torch.tensor([[0, 1, 2], [1, 1, 0]])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = HGTLayer(HIDDEN, HEADS, ("a",), order)
        layer = HGTLayer(HIDDEN, HEADS, ("a",), order, edge_ages=DAYS)
    missing, unexpected = layer.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("time.") for name in missing)
    h_dict = {"a": torch.randn(3, HIDDEN, generator=torch.Generator().manual_seed(1))}
    old = layer(h_dict, build_adjacency({"a": 3}, {order[0].of_age(2): edges}))
    expected = plain(h_dict, build_adjacency({"a": 3}, {order[0]: edges}))
    torch.testing.assert_close(old["a"], expected["a"])

"""The layer against PyG's HGTConv: any schema, any graph, outputs and all gradients."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from drawn import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contracts.schema import TELECOM
from ml.graph.adjacency import SparseRows, build_adjacency
from ml.graph.message_types import MessageType, message_types
from ml.hgt.layer import HGTLayer
from ml.hgt.model import ModelConfig

NAMES = ("user", "product", "app")
SHAPES = ((2, 4), (3, 5))
"""Heads and their width; each pair is compiled once."""
NOISE = 4.0
"""How many times further from double precision than PyG a gradient may be."""
ROUNDED = 1e-6
"""Granted on small graphs, of the largest gradient: a sum of few may come near zero, and of a score
alone in its softmax it is zero. Ten times as much for those that come through scores."""


@st.composite
def cases(draw):
    """A schema and a graph: types without in-edges, isolated nodes, duplicates, self loops."""
    names = NAMES[: draw(st.integers(1, 3))]
    ends = st.tuples(st.sampled_from(names), st.sampled_from(["r", "s"]), st.sampled_from(names))
    order = [MessageType(*end) for end in draw(st.lists(ends, min_size=1, max_size=5, unique=True))]
    sizes = {name: draw(st.integers(1, 9)) for name in names}
    edges = {}
    for message in order:
        sources, targets = (st.integers(0, sizes[e] - 1) for e in (message.source, message.target))
        found = draw(st.lists(st.tuples(sources, targets), max_size=40))
        edges[message] = torch.tensor(found, dtype=torch.long).reshape(-1, 2).T
    return names, order, sizes, edges, draw(st.sampled_from(SHAPES)), draw(st.integers(0, 2**20))


def of_pyg(conv, h_dict, edges, order):
    """HGTConv takes the order of the edges to be that of its metadata."""
    out = conv(h_dict, {message.key: edges[message] for message in order})
    return {name: h if out.get(name) is None else out[name] for name, h in h_dict.items()}


def both(names, order, shape, seed, backend):
    from torch_geometric.nn import HGTConv

    heads, hidden = shape[0], shape[0] * shape[1]
    generator = torch.Generator().manual_seed(seed)
    conv = HGTConv(hidden, hidden, (list(names), [message.key for message in order]), heads=heads)
    with torch.no_grad():
        for parameter in conv.parameters():
            spread = (2 / parameter.shape[-1]) ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    layer = HGTLayer(hidden, heads, names, order, backend=backend)
    layer.load_state_dict(conv.state_dict())
    return conv, layer, generator


def passed(forward, module, start, weight):
    """Outputs, and the gradients of their weighted sum by inputs and parameters."""
    h_dict = {name: h.clone().requires_grad_() for name, h in start.items()}
    out = forward(h_dict)
    sum((out[name] * weight[name]).sum() for name in h_dict).backward()
    grads = {name: h.grad for name, h in h_dict.items()}
    for name, parameter in module.named_parameters():
        grads |= parts_of(name, parameter.grad)
    return {name: h.detach() for name, h in out.items()}, grads


def parts_of(name, grad):
    """Keys, queries and values are in one matrix, and values have the largest gradients."""
    if not name.startswith("kqv_lin"):
        return {name: grad}
    parts = [None] * 3 if grad is None else grad.chunk(3)
    return dict(zip((f"k_{name}", f"q_{name}", f"v_{name}"), parts, strict=True))


def check_gradients(got, pyg, truth, rounded):
    """Each by its own size: 1e-5, but where PyG is further from double precision than that."""
    largest = max(float(g.abs().max()) for g in truth.values() if g is not None)
    for name, right in truth.items():
        if any(grad is None for grad in (got[name], right)):
            # Nothing depends on it, which may be said by zeros.
            assert all(grad is None or not grad.any() for grad in (got[name], right)), name
            continue
        error, noise = (float((grad - right).abs().max()) for grad in (got[name], pyg[name]))
        granted = rounded * largest * (10 if name.startswith(("k_", "q_", "p_rel")) else 1)
        allowed = 1e-5 * float(right.abs().max()) + NOISE * noise + granted
        assert error <= allowed, f"{name} is {error:.1e} away, expected {allowed:.1e} at most"


def check_against_pyg(names, order, sizes, edges, shape, seed, backend, *, rounded):
    conv, layer, generator = both(names, order, shape, seed, backend)
    start, weight = (
        {n: torch.randn(sizes[n], layer.hidden, generator=generator) for n in names}
        for _ in range(2)
    )
    exact = deepcopy(conv).double()
    out, got = passed(
        lambda h_dict: layer(h_dict, build_adjacency(sizes, dict(reversed(edges.items())))),
        layer, start, weight,
    )  # fmt: skip
    expected, pyg = passed(lambda h_dict: of_pyg(conv, h_dict, edges, order), conv, start, weight)
    _, truth = passed(
        lambda h_dict: of_pyg(exact, h_dict, edges, order), exact,
        *({name: x.double() for name, x in given.items()} for given in (start, weight)),
    )  # fmt: skip
    for name in names:
        torch.testing.assert_close(out[name], expected[name], rtol=1e-5, atol=1e-5)
    assert set(got) == set(truth)
    check_gradients(got, pyg, truth, rounded)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_equals_pyg_with_all_gradients(backend, case):
    check_against_pyg(*case, backend, rounded=ROUNDED)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_equals_pyg_with_all_gradients_in_the_shape_of_the_product(backend):
    order = message_types(TELECOM)
    sizes = {"user": 800, "product": 120, "app": 30}
    generator = np.random.default_rng(0)
    edges = {
        message: torch.from_numpy(
            # The first nodes have most of the edges, the last ones mostly none.
            np.stack(
                [
                    (sizes[end] * generator.random(4_000) ** 2).astype(int)
                    for end in (message.source, message.target)
                ]
            )
        )
        for message in order
    }
    shape = (ModelConfig.heads, ModelConfig.hidden // ModelConfig.heads)
    assert shape == (4, 16)
    check_against_pyg(tuple(sizes), order, sizes, edges, shape, 0, backend, rounded=0.0)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_rows_equal_the_rows_of_the_whole_pass(backend, case):
    names, order, sizes, edges, shape, seed = case
    _, layer, generator = both(names, order, shape, seed, backend)
    h_dict = {n: torch.randn(sizes[n], layer.hidden, generator=generator) for n in names}
    adjacency = build_adjacency(sizes, edges)
    with torch.no_grad():
        expected = layer(h_dict, adjacency)
    for name in names:
        own = {m: r.by_target for m, r in adjacency.relations.items() if m.target == name}
        got = layer.forward_rows(name, h_dict[name], h_dict, own)
        torch.testing.assert_close(got, expected[name], rtol=1e-5, atol=1e-5)


def small_layer(backend="auto"):
    order = [MessageType("user", "calls", "user"), MessageType("product", "rev", "user")]
    _, layer, generator = both(("user", "product"), order, (2, 4), 0, backend)
    h_dict = {n: torch.randn(5, 8, generator=generator) for n in ("user", "product")}
    return layer, h_dict, order


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_row_needs_not_be_a_node_and_may_come_in_parts(backend):
    layer, h_dict, (calls, rev) = small_layer(backend)
    own = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    whole = {
        calls: rows_of([np.array([0, 1, 2, 2])]),
        rev: rows_of([np.array([], int), np.array([4])]),
    }
    parts = {
        calls: SparseRows(
            torch.tensor([0, 0], dtype=torch.int32), torch.tensor([0, 1, 4]), whole[calls].other
        ),
        rev: whole[rev],
    }
    expected = layer.forward_rows("user", own, h_dict, whole)
    assert expected.shape == (2, 8)
    torch.testing.assert_close(layer.forward_rows("user", own, h_dict, parts), expected)
    without = layer.forward_rows("user", own, h_dict, {rev: whole[rev]})
    torch.testing.assert_close(without[1], expected[1])
    assert not torch.allclose(without[0], expected[0])


def test_rows_follow_a_changed_parameter():
    layer, h_dict, (calls, _) = small_layer()
    edges = {calls: rows_of([np.array([0, 1])])}
    before = layer.forward_rows("user", h_dict["user"][:1], h_dict, edges)
    with torch.no_grad():
        layer.v_rel.weight.mul_(2.0)
    after = layer.forward_rows("user", h_dict["user"][:1], h_dict, edges)
    assert not torch.allclose(before, after)
    assert not after.requires_grad


def test_a_type_at_which_nothing_ends_keeps_its_state():
    layer, h_dict, order = small_layer()
    edges = {key: torch.zeros(2, 0, dtype=torch.long) for key in order}
    out = layer(h_dict, build_adjacency({"user": 5, "product": 5}, edges))
    assert out["product"] is h_dict["product"]
    assert not torch.equal(out["user"], h_dict["user"])
    assert layer.forward_rows("product", h_dict["product"], h_dict, {}) is h_dict["product"]


def test_states_go_back_to_pyg():
    from torch_geometric.nn import HGTConv

    layer, _, order = small_layer()
    conv = HGTConv(8, 8, (["user", "product"], [message.key for message in order]), heads=2)
    conv.load_state_dict(layer.state_dict())
    assert all(torch.equal(conv.state_dict()[n], p) for n, p in layer.state_dict().items())


def test_what_does_not_fit_is_told():
    layer, h_dict, (calls, rev) = small_layer()
    adjacency = build_adjacency(
        {"user": 5, "product": 5}, {calls: torch.zeros(2, 1, dtype=torch.long)}
    )
    with pytest.raises(ValueError, match=r"shape \(4, 8\), expected \(5, 8\)"):
        layer(h_dict | {"user": h_dict["user"][:4]}, adjacency)
    other = build_adjacency(
        {"user": 5, "product": 5},
        {MessageType("user", "x", "user"): torch.zeros(2, 1, dtype=torch.long)},
    )
    with pytest.raises(ValueError, match="expected some of"):
        layer(h_dict, other)
    with pytest.raises(ValueError, match="given for 'product'"):
        layer.forward_rows("product", h_dict["product"], h_dict, {rev: rows_of([np.array([0])])})
    with pytest.raises(ValueError, match="multiple of the 3 heads"):
        HGTLayer(8, 3, ["user"], [])
    with pytest.raises(ValueError, match=r"message types name \['b'\]"):
        HGTLayer(8, 2, ["user"], [MessageType("user", "x", "b")])

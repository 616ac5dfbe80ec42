"""Attention over relations against one softmax per node written out, and its gradients."""

import multiprocessing

import numpy as np
import pytest
import torch

from ml.compute import threads
from ml.graph.adjacency import build_adjacency
from ml.graph.message_types import MessageSender, MessageType
from ml.hgt.attention import chunked
from ml.hgt.attention.attend import attend, backend_for
from ml.hgt.attention.partials import RelationMaps

ORDER = tuple(MessageType(*ends) for ends in (("a", "to", "a"), ("a", "to", "b"), ("b", "to", "a")))
SIZES = {"a": 30, "b": 9}
HEADS, WIDTH = 2, 4


@pytest.fixture(params=["numba", "torch"])
def backend(request):
    return request.param


@pytest.fixture
def many_pieces(monkeypatch):
    monkeypatch.setattr(threads, "PIECE", 40)
    monkeypatch.setitem(chunked.CHUNK, "cpu", 7)


def drawn(scale=1.0, edges=300, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    hidden = HEADS * WIDTH
    q = {name: (scale * normal(n, hidden)).requires_grad_() for name, n in SIZES.items()}
    tables = {
        MessageSender(name): (scale * normal(n, 2 * hidden)).requires_grad_()
        for name, n in SIZES.items()
    }
    shape = (len(ORDER), HEADS, WIDTH, WIDTH)
    maps = RelationMaps(normal(*shape).requires_grad_(), normal(*shape).requires_grad_())
    edge_index = {
        message: torch.stack(
            [
                torch.randint(SIZES[end] - 2, (edges,), generator=generator)
                for end in (message.source, message.target)
            ]
        )
        for message in ORDER
    }
    return q, tables, maps, edge_index


def oracle(q_dict, table_dict, maps, edge_index):
    """One softmax for each node over the scores of all its in-edges."""
    outs = {}
    for name, q in q_dict.items():
        rows = []
        for v in range(len(q)):
            keys, values = [], []
            for t, message in enumerate(ORDER):
                if message.target != name:
                    continue
                src = edge_index[message][0, edge_index[message][1] == v]
                k, value = table_dict[message.sender][src].view(-1, 2, HEADS, WIDTH).unbind(1)
                keys.append(torch.einsum("ehd,hdc->ehc", k, maps.k[t]))
                values.append(torch.einsum("ehd,hdc->ehc", value, maps.v[t]))
            score = (torch.cat(keys) * q[v].view(HEADS, WIDTH)).sum(2)
            p = score.softmax(0)[:, :, None]
            rows.append((p * torch.cat(values)).sum(0).flatten())
        outs[name] = torch.stack(rows)
    return outs


def gradients(out, q, tables, maps):
    generator = torch.Generator().manual_seed(1)
    total = sum(
        (x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum() for x in out.values()
    )
    inputs = [*q.values(), *tables.values(), maps.k, maps.v]
    return torch.autograd.grad(total, inputs)


@pytest.mark.usefixtures("many_pieces")
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_equals_one_softmax_a_node(backend, scale):
    q, tables, maps, edge_index = drawn(scale)
    out = attend(q, tables, maps, build_adjacency(SIZES, edge_index), ORDER, backend=backend)
    expected = oracle(q, tables, maps, edge_index)
    for name, x in expected.items():
        torch.testing.assert_close(out[name], x, rtol=1e-5, atol=2e-5 * scale)
    pairs = zip(gradients(out, q, tables, maps), gradients(expected, q, tables, maps), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=2e-5 * float(wanted.abs().max()))


def test_gradients_are_exact_in_double_precision():
    q, tables, maps, edge_index = drawn(edges=60, dtype=torch.float64)
    out = attend(q, tables, maps, build_adjacency(SIZES, edge_index), ORDER)
    expected = oracle(q, tables, maps, edge_index)
    pairs = zip(gradients(out, q, tables, maps), gradients(expected, q, tables, maps), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("many_pieces")
def test_threads_and_repetition_change_no_bit(backend):
    q, tables, maps, edge_index = drawn()
    adjacency = build_adjacency(SIZES, edge_index)
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 2, 3):
            torch.set_num_threads(count)
            out = attend(q, tables, maps, adjacency, ORDER, backend=backend)
            results.append([*out.values(), *gradients(out, q, tables, maps)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_scores_beyond_the_range_of_exp_stay_finite(backend):
    q, tables, maps, edge_index = drawn(scale=60.0)
    out = attend(q, tables, maps, build_adjacency(SIZES, edge_index), ORDER, backend=backend)
    assert all(torch.isfinite(x).all() for x in out.values())
    assert all(torch.isfinite(g).all() for g in gradients(out, q, tables, maps))


def test_what_is_no_number_stays_visible(backend):
    q, tables, maps, edge_index = drawn()
    with torch.no_grad():
        tables[MessageSender("a")][3] = float("nan")
    out = attend(q, tables, maps, build_adjacency(SIZES, edge_index), ORDER, backend=backend)
    hit = edge_index[ORDER[1]]
    assert torch.isnan(out["b"][hit[1, hit[0] == 3]]).all()


def _squares():
    out = np.zeros(6)

    def work(first, last, piece):
        out[first:last] = np.arange(first, last) ** 2 + 0 * piece

    threads.run_pieces(work, np.array([0, 2, 5, 6]))
    return out.tolist()


def test_the_pool_survives_a_fork():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert _squares() == [0, 1, 4, 9, 16, 25]
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(_squares).get(timeout=60) == [0, 1, 4, 9, 16, 25]
    finally:
        torch.set_num_threads(before)


def test_a_failing_piece_is_told():
    def work(first, last, piece):
        raise RuntimeError(f"piece {piece}")

    with pytest.raises(RuntimeError, match="piece 0"):
        threads.run_pieces(work, np.array([0, 1, 2]))


def test_the_backend_is_chosen_by_what_is_computed():
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert backend_for("auto", single) is not chunked
    assert backend_for("auto", double) is backend_for("torch", single) is chunked
    with pytest.raises(ValueError, match="expected float32 on the CPU"):
        backend_for("numba", double)
    with pytest.raises(ValueError, match="expected 'auto', 'numba' or 'torch'"):
        backend_for("cuda", single)

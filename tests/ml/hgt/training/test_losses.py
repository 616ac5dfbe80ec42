import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ml.hgt.training import losses
from ml.hgt.training.losses import BatchShard, Positives, edge_loss, info_nce


def oracle(z, z_other, node, other, known, scale, bias, candidates):
    """InfoNCE by its definition, one query at a time."""
    total = 0.0
    for i, j in zip(node.tolist(), other.tolist(), strict=True):
        allowed = [c for c in candidates if c == j or (i, c) not in known]
        logits = [scale * float(z[i] @ z_other[c]) + float(bias[c]) for c in allowed]
        total -= logits[allowed.index(j)] - math.log(sum(math.exp(x) for x in logits))
    return total / len(node)


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    z = normalize(torch.randn(6, 8, generator=generator), dim=1)
    z_other = normalize(torch.randn(5, 8, generator=generator), dim=1)
    pairs = torch.tensor([[0, 0, 1, 2, 5, 5, 3], [0, 1, 1, 4, 2, 3, 0]])
    return z, z_other, pairs, torch.randn(5, generator=generator)


@pytest.mark.parametrize("full_softmax", [4096, 1])
def test_the_loss_agrees_with_its_definition(drawn, full_softmax, monkeypatch):
    monkeypatch.setattr(losses, "FULL_SOFTMAX", full_softmax)
    z, z_other, pairs, bias = drawn
    known = set(zip(*pairs.tolist(), strict=True))
    batch = pairs[:, [0, 3, 4, 6]]
    candidates = range(5) if full_softmax > 5 else sorted(set(batch[1].tolist()))
    got = info_nce(
        z, z_other, batch[0], batch[1], positives=Positives.of(pairs[0], pairs[1], 6),
        scale=torch.tensor(7.0), bias=bias,
    )  # fmt: skip
    expected = oracle(z, z_other, batch[0], batch[1], known, 7.0, bias, list(candidates))
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_known_positives_are_found_for_any_nodes():
    generator = np.random.default_rng(0)
    node, neighbour = generator.integers(0, 9, 30), generator.integers(0, 7, 30)
    positives = Positives.of(torch.from_numpy(node), torch.from_numpy(neighbour), 9)
    rows = torch.tensor([8, 0, 3, 3])
    mask = positives.mask(rows, torch.arange(7))
    truth = set(zip(node.tolist(), neighbour.tolist(), strict=True))
    for row, i in enumerate(rows.tolist()):
        assert [c for c in range(7) if mask[row, c]] == [c for c in range(7) if (i, c) in truth]


@pytest.mark.parametrize("targets", [0, 1])
def test_fewer_than_two_targets_contribute_nothing(targets):
    pairs = torch.zeros(2, targets, dtype=torch.long)
    positives = Positives.of(pairs[0], pairs[1], 3)
    loss = edge_loss(
        torch.ones(3, 4), torch.ones(targets, 4), pairs, forward=positives, backward=positives,
        scale=torch.tensor(1.0), bias_src=torch.zeros(3), bias_dst=torch.zeros(targets),
    )  # fmt: skip
    assert loss is None


@pytest.mark.parametrize("processes", [2, 3])
def test_the_parts_of_a_batch_add_up_to_its_loss(drawn, processes):
    z, z_other, pairs, bias = drawn
    positives = Positives.of(pairs[0], pairs[1], 6)
    parts = [
        info_nce(
            z, z_other, pairs[0], pairs[1], positives=positives, scale=torch.tensor(7.0),
            bias=bias, shard=BatchShard(rank, processes),
        )
        for rank in range(processes)
    ]  # fmt: skip
    whole = info_nce(
        z, z_other, pairs[0], pairs[1], positives=positives, scale=torch.tensor(7.0), bias=bias
    )
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-6)

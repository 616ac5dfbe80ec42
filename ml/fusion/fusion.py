"""Rules and model into one score by a gate that is learned for each user.

z = g * z_rule + (1 - g) * z_nn,  g = sigmoid(W [h_rule, h_nn]),  p = sigmoid(a * z + b)

The loss is cross entropy on z, without class weights, which would spoil the calibration; a and b
are fitted on users that were held out of the training (Platt 1999).
"""

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.fusion.evidence import Evidence

MIN_USERS = 10
"""Users with a target that the fusion needs."""


@dataclass(frozen=True)
class FusionConfig:
    """How the fusion is trained.

    Args:
        epochs: At most; it stops ``patience`` epochs after the best one on held-out users.
        holdout: Share of the training users held out for stopping and calibration.
        folds: Of the cross validation.
        max_validated: More labelled users than this are sampled (seeded) for cross validation.
    """

    epochs: int = 60
    learning_rate: float = 3e-3
    hidden: int = 32
    weight_decay: float = 0.1
    batch_size: int = 256
    patience: int = 6
    holdout: float = 0.15
    folds: int = 5
    max_validated: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.folds < 2 or not 0.0 < self.holdout < 1.0:
            raise ValueError(
                f"epochs {self.epochs}, folds {self.folds}, holdout {self.holdout}: expected at "
                "least 1, at least 2, and between 0 and 1"
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Widths:
    """Width of each kind of evidence."""

    rules: int
    embedding: int
    attributes: int

    @classmethod
    def of(cls, evidence: Evidence) -> "Widths":
        return cls(
            evidence.hits.shape[1], evidence.embedding.shape[1], evidence.attributes.shape[1]
        )


class Fusion(nn.Module):
    """The gate and the two logits that it weighs."""

    def __init__(self, widths: Widths, hidden: int) -> None:
        super().__init__()
        self.widths, self.hidden = widths, hidden
        width = widths.embedding + widths.attributes
        self.rule_scale = nn.Parameter(torch.ones(1))
        self.rule_lin = nn.Linear(max(widths.rules, 1), 1)
        self.nn_lin = nn.Linear(width, 1)
        self.nn_hidden = nn.Linear(width, hidden)
        self.nn_out = nn.Linear(hidden, 1, bias=False)
        self.gate = nn.Linear(max(widths.rules, 1) + 1 + hidden, 1)
        for lin in (self.rule_lin, self.nn_lin, self.gate):
            nn.init.zeros_(lin.weight)
            nn.init.zeros_(lin.bias)
        nn.init.normal_(self.nn_out.weight, std=0.01)
        self.register_buffer("platt", torch.tensor([1.0, 0.0]))

    def forward(
        self, hits: Tensor, rule_score: Tensor, embedding: Tensor, attributes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rule logit, model logit and gate. Shapes: [n, R], [n], [n, D], [n, A] → [n] each."""
        if not self.widths.rules:
            hits = rule_score.new_zeros(len(rule_score), 1)
        z_rule = self.rule_scale * rule_score + self.rule_lin(hits).squeeze(1)
        # The embedding has length one; this gives its elements the spread of scaled attributes.
        x = torch.cat([embedding * self.widths.embedding**0.5, attributes], dim=1)
        h_nn = F.relu(self.nn_hidden(x))
        z_nn = (self.nn_lin(x) + self.nn_out(h_nn)).squeeze(1)
        h_rule = torch.cat([hits, rule_score[:, None]], dim=1)
        g = torch.sigmoid(self.gate(torch.cat([h_rule, h_nn], dim=1))).squeeze(1)
        return z_rule, z_nn, g

    def logit(self, *evidence: Tensor) -> Tensor:
        """The fused logit before calibration. Shape: [n]."""
        z_rule, z_nn, g = self(*evidence)
        z: Tensor = g * z_rule + (1 - g) * z_nn
        return z

    def calibrated(self, z: Tensor) -> Tensor:
        """Probability of a logit."""
        assert isinstance(self.platt, Tensor)
        return torch.sigmoid(self.platt[0] * z + self.platt[1])


@dataclass(frozen=True)
class Scores:
    """Scores of users: probabilities by the rules' part, the model's part and both, and the gate.

    Shapes: [n] each.
    """

    rule: npt.NDArray[np.float64]
    model: npt.NDArray[np.float64]
    gate: npt.NDArray[np.float64]
    final: npt.NDArray[np.float64]


def tensors(evidence: Evidence, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Evidence in the order in which the fusion takes it."""
    parts = (evidence.hits, evidence.rule_score, evidence.embedding, evidence.attributes)
    return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(dtype) for part in parts)


@torch.no_grad()
def score(fusion: Fusion, evidence: Evidence, *, block: int = 65_536) -> Scores:
    """Scores of all users, in blocks. Computed with double precision."""
    double = copy.deepcopy(fusion).double().eval()
    parts = []
    for first in range(0, max(len(evidence), 1), block):
        rows = np.arange(first, min(first + block, len(evidence)))
        z_rule, z_nn, g = double(*tensors(evidence.take(rows), torch.float64))
        p_rule, p_nn = double.calibrated(z_rule), double.calibrated(z_nn)
        p = double.calibrated(g * z_rule + (1 - g) * z_nn)
        parts.append(torch.stack([p_rule, p_nn, g, p]).numpy())
    return Scores(*np.concatenate(parts, axis=1))


def fit_fusion(
    evidence: Evidence, target: npt.NDArray[np.floating[Any]], config: FusionConfig
) -> Fusion:
    """Train the fusion, stop it early and calibrate it, the last two on held-out users.

    Args:
        target: 0 or 1, or a probability where the rules are the target. Shape: [n].

    Raises:
        ValueError: if the target has another length, or there are fewer than ``MIN_USERS``.
    """
    if len(target) != len(evidence) or len(target) < MIN_USERS:
        raise ValueError(
            f"{len(target)} targets for {len(evidence)} users, expected the same number, "
            f"{MIN_USERS} or more"
        )
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fusion = Fusion(Widths.of(evidence), config.hidden)
    held, rest = _holdout(np.asarray(target), config)
    y = torch.from_numpy(np.asarray(target, np.float32))
    train, aside = tensors(evidence.take(rest)), tensors(evidence.take(held))
    best, best_loss, best_epoch = copy.deepcopy(fusion.state_dict()), float("inf"), 0
    optimizer = torch.optim.AdamW(
        fusion.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    for epoch in range(config.epochs):
        _epoch(fusion, optimizer, train, y[rest], config.batch_size, generator)
        with torch.no_grad():
            loss = F.binary_cross_entropy_with_logits(fusion.logit(*aside), y[held]).item()
        if loss < best_loss - 1e-5:
            best, best_loss, best_epoch = copy.deepcopy(fusion.state_dict()), loss, epoch
        elif epoch - best_epoch >= config.patience:
            break
    fusion.load_state_dict(best)
    with torch.no_grad():
        z = fusion.logit(*aside).double()
    assert isinstance(fusion.platt, Tensor)
    fusion.platt.copy_(platt(z, y[held].double()))
    return fusion.eval()


def platt(z: Tensor, y: Tensor) -> Tensor:
    """Slope and shift of p = sigmoid(a z + b), drawn a little towards (1, 0); a stays positive.

    Shapes: [n], [n] → [2].
    """
    theta = torch.zeros(2, dtype=z.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(theta[0].exp() * z + theta[1], y)
        loss = loss + (theta**2).sum() / len(z)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return torch.stack([theta[0].exp(), theta[1]]).detach()


def _epoch(
    fusion: Fusion,
    optimizer: torch.optim.Optimizer,
    train: tuple[Tensor, ...],
    y: Tensor,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    for rows in torch.split(torch.randperm(len(y), generator=generator), batch_size):
        optimizer.zero_grad()
        z = fusion.logit(*(part[rows] for part in train))
        loss = F.binary_cross_entropy_with_logits(z, y[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _holdout(
    target: npt.NDArray[Any], config: FusionConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows held out and the others, with the same share of both classes."""
    generator = np.random.default_rng(config.seed)
    order = np.lexsort((generator.random(len(target)), target > 0.5))
    every = max(2, round(1 / config.holdout))
    held = np.arange(len(target)) % every == every // 2
    return np.sort(order[held]), np.sort(order[~held])

"""The users whose evidence stands in for what is out of play: a stored sample with an id."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ml.contracts.reports.explanation import BackgroundSample
from ml.fusion.evidence import Evidence

BACKGROUND = 50
ZERO_WARNING = (
    "The background is zeros, which no user has: no rule hits, a rule score of 0 and attributes at "
    "the mean of everybody. The contributions depend on this choice; use the stored sample to "
    "compare users."
)

BackgroundKind = Literal["sample", "zero"]


@dataclass(frozen=True)
class Background:
    """Evidence to compare with.

    Args:
        id: Of the content: two samples with the same users and evidence have the same id.
        seed: Of the draw.
        users: Ids of the users drawn; none where the background is zeros.
    """

    id: str
    seed: int
    users: tuple[str, ...]
    evidence: Evidence
    kind: BackgroundKind = "sample"

    def __len__(self) -> int:
        return len(self.evidence)

    def about(self) -> BackgroundSample:
        """What an answer says of it."""
        return BackgroundSample(id=self.id, kind=self.kind, size=len(self), seed=self.seed)


def draw_background(
    evidence: Evidence, users: Sequence[str], *, size: int = BACKGROUND, seed: int = 0
) -> Background:
    """A seeded sample of users.

    Raises:
        ValueError: if users and evidence differ in length, or there is nobody.
    """
    if len(users) != len(evidence) or not len(users):
        raise ValueError(
            f"{len(users)} user ids for the evidence of {len(evidence)} users: expected as many, "
            "one at least"
        )
    rows = np.random.default_rng(seed).choice(len(users), min(size, len(users)), replace=False)
    rows = np.sort(rows)
    drawn, part = tuple(users[row] for row in rows), evidence.take(rows)
    return Background(content_id(drawn, part), seed, drawn, part)


def zero_background(like: Evidence) -> Background:
    """One row of zeros in the widths of ``like``; answers that use it carry a warning."""
    row = Evidence(
        *(np.zeros((1, *part.shape[1:]), np.float32) for part in matrices(like).values())
    )
    return Background("zero", 0, (), row, "zero")


def content_id(users: Sequence[str], evidence: Evidence) -> str:
    """``bg-`` and twelve digits of the SHA-256 of user ids and evidence."""
    digest = hashlib.sha256("\n".join(users).encode())
    for name, part in matrices(evidence).items():
        digest.update(f"\0{name} {part.shape}\0".encode())
        digest.update(np.ascontiguousarray(part, np.float32).tobytes())
    return f"bg-{digest.hexdigest()[:12]}"


def matrices(evidence: Evidence) -> Mapping[str, Any]:
    """The parts of evidence by name, in the order in which ``Evidence`` takes them."""
    return {
        "hits": evidence.hits,
        "rule_score": evidence.rule_score,
        "embedding": evidence.embedding,
        "attributes": evidence.attributes,
    }

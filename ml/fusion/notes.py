"""What the numbers of a score's report mean, in plain sentences."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ml.contracts.reports.score import Comparison
from ml.fusion.leaks import SUSPICIOUS

CHANCE = 0.55
"""AUC below which a score is hardly better than chance."""
FEW = 50
"""Users of the rarer class below which the numbers are uncertain."""

NOT_VALIDATED = (
    "NOT VALIDATED: there is neither a label nor future behaviour to learn from (20 users of each "
    "class at least), so the score is trained on the rules and can only repeat them"
)
SINGLE = ("rules", "embedding", "boosting")
ALONE = {
    "rules": "the rules alone",
    "embedding": "the embedding alone",
    "boosting": "gradient boosting on all attributes and counts",
}


def score_notes(
    areas: Mapping[str, float],
    y: npt.NDArray[np.float64],
    comparison: Comparison,
    alone: Mapping[str, float] | None = None,
) -> list[str]:
    """Sentences on a validated score, where its numbers deserve one.

    Numbers are compared as they are shown, with three digits.

    Args:
        areas: AUC of ``fused``, ``without_embedding`` and the parts alone.
        y: What was predicted, 0 or 1. Shape: [n].
        comparison: The fused score beside the best part alone.
        alone: AUC of each attribute by itself.
    """
    area = {name: round(value, 3) for name, value in areas.items()}
    fused, bare = area["fused"], area["without_embedding"]
    notes = []
    if comparison.low <= 0:
        notes.append(_beside(area, comparison))
    if fused <= bare:
        does = "adds nothing" if fused == bare else f"costs {bare - fused:.3f}"
        notes.append(
            f"the embedding {does} here: AUC {fused:.3f} with it, {bare:.3f} with rules and "
            "attributes alone"
        )
    notes += [
        f"{name} by itself tells what is predicted (AUC {value:.3f}): if it was filled in "
        "afterwards, no score here will hold for new users; leave it out with `role: ignored`"
        for name, value in (alone or {}).items()
        if value >= SUSPICIOUS
    ]
    if fused < CHANCE:
        notes.append(f"the score is hardly better than chance: AUC {fused:.3f}, chance is .500")
    positives = int((y > 0).sum())
    rarer = min(positives, len(y) - positives)
    if rarer < FEW:
        kind = "positives" if positives == rarer else "negatives"
        notes.append(
            f"the measures rest on {rarer} {kind} among {len(y)} users and are uncertain: "
            f"{FEW} at least are advisable"
        )
    return notes


def _beside(area: Mapping[str, float], comparison: Comparison) -> str:
    """That the fused score does not beat its best part, and how sure that is."""
    best = comparison.best_part
    numbers = (
        f"AUC {area['fused']:.3f} against {area[best]:.3f}, difference {comparison.value:+.4f}, "
        f"{comparison.level:.0%} of resamples of the users from {comparison.low:+.4f} to "
        f"{comparison.high:+.4f}"
    )
    if comparison.high < 0:
        return f"the fused score is worse than {ALONE[best]}: {numbers}"
    return f"the fused score does not clearly beat {ALONE[best]}: {numbers}"

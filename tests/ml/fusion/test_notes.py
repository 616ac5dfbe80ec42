import numpy as np
import pytest

from ml.contracts.reports.score import Comparison
from ml.fusion.notes import ALONE, SINGLE, score_notes

METHODS = {"rules": 0.7, "embedding": 0.71, "boosting": 0.72, "without_embedding": 0.73}


def notes(fused=0.8, positives=60, negatives=90, low=0.01, high=0.05, **others):
    areas = {**METHODS, "fused": fused, **others}
    y = np.r_[np.ones(positives), np.zeros(negatives)]
    best = max(SINGLE, key=lambda name: areas[name])
    value = fused - areas[best]
    comparison = Comparison(
        best_part=best, value=value, low=low, high=high, level=0.95, resamples=1000
    )
    return score_notes(areas, y, comparison)


def test_good_numbers_need_no_sentence():
    assert notes() == []


@pytest.mark.parametrize("part", SINGLE)
def test_a_part_that_is_better_is_named(part):
    (note,) = notes(0.8, low=-0.08, high=-0.02, **{part: 0.85})
    assert note == (
        f"the fused score is worse than {ALONE[part]}: AUC 0.800 against 0.850, difference "
        "-0.0500, 95% of resamples of the users from -0.0800 to -0.0200"
    )


@pytest.mark.parametrize(("low", "high"), [(-0.02, 0.03), (-0.03, 0.0), (0.0, 0.1)])
def test_a_part_that_is_not_clearly_beaten_is_named(low, high):
    (note,) = notes(0.8, low=low, high=high, boosting=0.795)
    assert note.startswith(f"the fused score does not clearly beat {ALONE['boosting']}: AUC 0.800")


@pytest.mark.parametrize(
    ("bare", "does"),
    [(0.79, None), (0.8, "adds nothing"), (0.8004, "adds nothing"), (0.81, "costs 0.010")],
)
def test_an_embedding_that_adds_nothing(bare, does):
    found = [note.partition(":")[0] for note in notes(0.8, without_embedding=bare)]
    assert found == ([] if does is None else [f"the embedding {does} here"])


def test_hardly_better_than_chance():
    parts = dict.fromkeys(METHODS, 0.5)
    assert notes(0.55, **parts) == []
    (note,) = notes(0.549, **parts)
    assert "hardly better than chance" in note


def test_few_of_a_class():
    assert notes(positives=50) == []
    (note,) = notes(positives=49)
    assert "rest on 49 positives among 139 users" in note
    (note,) = notes(negatives=31)
    assert "rest on 31 negatives among 91 users" in note

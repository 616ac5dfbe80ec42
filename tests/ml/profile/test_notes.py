import numpy as np
import pytest

from ml.profile.notes import ALONE, score_notes

METHODS = {"rules": 0.7, "embedding": 0.71, "boosting": 0.72, "without_embedding": 0.73}


def notes(fused=0.8, positives=60, negatives=90, **others):
    areas = {**METHODS, "fused": fused, **others}
    y = np.r_[np.ones(positives), np.zeros(negatives)]
    return score_notes({name: {"auc": area} for name, area in areas.items()}, y)


def test_good_numbers_need_no_sentence():
    assert notes() == []


@pytest.mark.parametrize("part", ["rules", "embedding", "boosting"])
def test_a_part_that_is_better_is_named(part):
    (note,) = notes(0.8, **{part: 0.85})
    assert "predicts better than the fused score: AUC 0.850 against 0.800" in note
    assert note.startswith(ALONE[part])


@pytest.mark.parametrize(("bare", "expected"), [(0.79, 0), (0.8, 1), (0.8004, 1), (0.81, 1)])
def test_an_embedding_that_adds_nothing(bare, expected):
    found = notes(0.8, without_embedding=bare)
    assert len(found) == expected
    assert all(note.startswith("the embedding adds nothing here: AUC 0.800") for note in found)


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

"""Suggestions: what the rules say, and that they are silent where the evidence is weak."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stored_reports import stored

from ml.contracts.reports.evaluation import Slices
from ml.contracts.reports.score import ScoreReport
from ml.contracts.schema import TELECOM
from ml.evaluation.intervals import share_of
from ml.evaluation.suggestions import factor, suggest
from ml.optimizing.actions import parse


def sliced(name, value, *, low, high, pairs=400, sources=200, **more):
    return {
        "edge_type": "user-orders-product", "source": "user", "slice": name, "pairs": pairs,
        "sources": sources, "effective": float(sources), "recall_at_20": value, "low": low,
        "high": high, "baselines": {}, **more,
    }  # fmt: skip


WARM = sliced("cold 5+", 0.31, low=0.27, high=0.35)
COOL = sliced("cold 1-4", 0.08, low=0.06, high=0.11)


def told(links=(), users=(), score=None, without=None):
    slices = Slices.from_dict({"links": list(links), "users": list(users)})
    measured = stored("version_by_label")["score"] | {"reliability": []} | (score or {})
    found = suggest(slices, ScoreReport.from_dict(measured), without or {})
    return [one.to_dict() for one in found]


def test_cold_sources_far_behind_the_warm_ones_are_augmented():
    (found,) = told([COOL, WARM])
    assert found["because"] == (
        "Recall@20 .08 (at most .11) on users with 1–4 edges against .31 (at least .27) on those "
        "with 5 or more: 400 pairs of 200 users, 400 pairs of 200 users"
    )
    assert found["evidence"]["slice"]["value"] == 0.08
    assert found["evidence"]["against"]["low"] == 0.27
    parts = ("action", "automatic", "edge_type", "factor", "sources")
    assert {name: found[name] for name in parts} == {
        "action": "augment", "automatic": True, "edge_type": "user-orders-product", "factor": 4,
        "sources": "1-4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cool", "warm"),
    [
        (COOL | {"high": 0.28}, WARM),
        (COOL | {"pairs": 49}, WARM),
        (COOL | {"sources": 29}, WARM),
        (COOL, WARM | {"sources": 29}),
        (WARM | {"slice": "cold 1-4"}, COOL | {"slice": "cold 5+"}),
        (COOL, WARM | {"edge_type": "user-uses-app"}),
    ],
    ids=["overlap", "few pairs", "few sources", "few to compare with", "better", "another type"],
)
def test_weak_evidence_suggests_nothing(cool, warm):
    assert told([cool, warm]) == []


def test_the_factor_is_the_ratio_within_its_bounds():
    assert [factor(v, 0.3) for v in (0.29, 0.15, 0.1, 0.05, 0.0)] == [2, 2, 3, 4, 4]


def test_the_stage_that_optimizes_can_carry_it_out():
    (found,) = told([COOL, WARM])
    action = parse(found, TELECOM)
    assert (action.edge.name, action.factor, action.sources) == ("user-orders-product", 4, (1, 4))


def test_sources_without_edges_are_advice_for_people():
    (found,) = told([COOL | {"slice": "cold 0"}, WARM], without={"user-orders-product": 1200})
    assert (found["action"], found["automatic"], found["what"]) == ("collect", False, "events")
    assert found["because"].endswith("; 1,200 users have none")


def test_a_baseline_that_clearly_beats_the_model_is_named():
    whole = sliced("all", 0.2, low=0.15, high=0.26, baselines={"ease": 0.5, "popularity": 0.4})
    (found,) = told([whole])
    assert (found["action"], found["automatic"]) == ("review", False)
    assert found["evidence"]["baseline"] == "ease"
    assert told([whole | {"baselines": {"ease": 0.29}}]) == []
    assert told([whole | {"baselines": {}}]) == []


def users_row(about, name, auc, **more):
    base = {
        "about": about, "slice": name, "users": 500, "positives": 100, "predicted": 0.2,
        "observed": 0.2, "observed_low": 0.1, "observed_high": 0.3, "brier": 0.1,
        "calibration_error": 0.01, "auc": auc, "low": auc - 0.03, "high": auc + 0.03,
    }  # fmt: skip
    return base | more


def test_users_of_whom_little_is_known_are_collected_for():
    best = users_row("attributes", "none missing", 0.85)
    (found,) = told(users=[best, users_row("attributes", "some missing", 0.7)])
    assert (found["action"], found["what"]) == ("collect", "attributes")
    assert told(users=[best, users_row("attributes", "some missing", 0.82)]) == []
    assert told(users=[best, users_row("attributes", "some missing", 0.7, users=99)]) == []
    edges = [users_row("edges", "20+ edges", 0.9), users_row("edges", "under 5 edges", 0.6)]
    assert [one["what"] for one in told(users=edges)] == ["events"]


def test_probabilities_that_do_not_hold_are_reviewed():
    off = users_row("rules", "a rule hits", 0.8, predicted=0.5)
    (found,) = told(users=[off])
    assert (found["action"], found["what"]) == ("review", "calibration")
    assert found["because"].startswith("users, a rule hits: predicted .500, observed .200 (")
    bins = [{"from": 0.8, "to": 0.9, "count": 200, "predicted": 0.85, "observed": 0.6}]
    (found,) = told(score={"reliability": bins})
    assert found["because"].startswith("users scored 0.8 to 0.9: predicted .850, observed .600")
    assert told(score={"reliability": [bins[0] | {"count": 99}]}) == []
    assert told(score={"reliability": [bins[0] | {"observed": 0.84}]}) == []


def test_a_score_that_is_not_validated_wants_a_label():
    score = {"validated": False, "passed_over": ["label: the dataset has none"], "users": 90}
    (found,) = told(score=score)
    assert (found["action"], found["automatic"], found["what"]) == ("collect", False, "label")


def test_what_can_be_carried_out_comes_first():
    links = [
        sliced("all", 0.1, low=0.05, high=0.2, baselines={"ease": 0.9}), COOL, WARM,
        COOL | {"edge_type": "user-uses-app", "recall_at_20": 0.01},
        WARM | {"edge_type": "user-uses-app"},
    ]  # fmt: skip
    found = told(links)
    assert [(one["action"], one["edge_type"]) for one in found] == [
        ("augment", "user-uses-app"), ("augment", "user-orders-product"),
        ("review", "user-orders-product"),
    ]  # fmt: skip


shares = st.tuples(st.floats(0, 1), st.floats(0, 0.5))


@given(shares, shares, st.integers(0, 200), st.integers(0, 200))
@example((0.1, 0.02), (0.4, 0.02), 50, 30)
@example((0.1, 0.02), (0.4, 0.02), 49, 30)
@example((0.1, 0.02), (0.4, 0.02), 50, 29)
def test_an_augmentation_always_has_a_clear_gap_and_enough_cases(cool, warm, pairs, sources):
    def row(name, value, half):
        low, high = max(0.0, value - half), min(1.0, value + half)
        return sliced(name, value, low=low, high=high, pairs=pairs, sources=sources)

    rows = [row("cold 1-4", *cool), row("cold 5+", *warm)]
    clear = rows[0]["high"] < rows[1]["low"]
    found = told(rows)
    assert len(found) == int(clear and pairs >= 50 and sources >= 30)
    for one in found:
        assert one["evidence"]["slice"]["high"] < one["evidence"]["against"]["low"]
        assert 2 <= one["factor"] <= 4


def test_where_cold_and_warm_are_alike_nothing_is_suggested():
    """Of 400 draws without a difference hardly one looks like one, in spite of the many looks."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        rows = []
        for name, size in (("cold 1-4", 120), ("cold 5+", 300)):
            group = generator.integers(0, size // 2, size)
            chance = np.where(generator.random(size // 2) < 0.5, 0.1, 0.5)[group]
            share = share_of(generator.random(size) < chance, group)
            rows.append(
                sliced(name, share.value, low=share.low, high=share.high, pairs=share.cases,
                       sources=share.groups)
            )  # fmt: skip
        wrong += len(told(rows))
    assert wrong <= 4

"""A column that tells what is predicted is found; one that can't be used does no harm."""

import numpy as np
import polars as pl
import pytest

from ml.fusion.fitting import fit_profile
from ml.fusion.fusion import FusionConfig
from ml.fusion.leaks import telling
from ml.fusion.validation import stratified_folds
from ml.graph.graph import build_graph
from ml.rules.rule_set import RuleSet, default_rules

CHANCE = np.random.default_rng(4)
USERS = 4000


@pytest.fixture(scope="module")
def y():
    return (CHANCE.random(USERS) < 0.3).astype(float)


def alone(column, y):
    (area,) = telling(np.asarray(column, float)[:, None], y, stratified_folds(y, 5, 0))
    return area


def test_what_tells_is_found_in_whichever_way_it_tells(y):
    noise = CHANCE.normal(size=USERS)
    reason = np.where(y == 1, CHANCE.integers(0, 8, USERS), np.nan)
    middle = np.where(y == 1, CHANCE.uniform(-1, 1, USERS), CHANCE.choice([-2, 2], USERS))
    assert alone(y, y) == 1
    assert alone(-10 * y + noise, y) > 0.98
    assert alone(reason, y) > 0.99  # filled for those who left
    assert alone(np.where(y == 1, np.nan, noise), y) > 0.99  # and for those who did not
    assert alone(middle, y) > 0.95


def test_what_does_not_tell_is_not_suspected(y):
    assert abs(alone(CHANCE.normal(size=USERS), y) - 0.5) < 0.05
    assert abs(alone(CHANCE.integers(0, 5, USERS), y) - 0.5) < 0.05
    assert abs(alone(np.arange(USERS), y) - 0.5) < 0.05  # ids
    assert abs(alone(CHANCE.permutation(USERS) // 2, y) - 0.5) < 0.05
    assert abs(alone(np.full(USERS, np.nan), y) - 0.5) < 0.01
    assert 0.6 < alone(y + 2 * CHANCE.normal(size=USERS), y) < 0.75


def report_with(population, **columns):
    """The report where some attributes are replaced."""
    graph = build_graph(population)
    features = graph.features["user"].with_columns(**columns)
    object.__setattr__(graph, "features", {**graph.features, "user": features})
    rules = RuleSet(default_rules(graph.schema), graph.schema)

    def nothing(part):
        return np.zeros((part.num_nodes["user"], 64), np.float32)

    return fit_profile(graph, rules, nothing, FusionConfig(epochs=2), cut=None).report.to_dict()


def test_a_leak_is_named_in_the_report(population):
    churned = build_graph(population).labels
    told = report_with(population, monthly_fee=pl.Series(np.where(churned == 1, 99.0, 12.0)))
    (note,) = [note for note in told["notes"] if "by itself" in note]
    assert note.startswith("monthly_fee by itself tells what is predicted (AUC 1.000)")
    assert not [note for note in report_with(population)["notes"] if "by itself" in note]


def test_an_attribute_without_any_value_is_no_error(population):
    told = report_with(population, monthly_fee=pl.lit(None, pl.Float64))
    assert told["target"] == "label"
    assert told["boosting_auc"] > 0.5


def test_one_value_in_one_fold_is_no_error(population):
    users = build_graph(population).num_nodes["user"]
    once = pl.Series([1.0, *[None] * (users - 1)], dtype=pl.Float64)
    assert report_with(population, monthly_fee=once)["boosting_auc"] > 0.5

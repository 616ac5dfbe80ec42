from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import START, events_frame

from ml.contracts.schema import USER
from ml.evaluation.metrics import auc
from ml.fusion.fitting import fit_profile
from ml.fusion.fusion import FusionConfig
from ml.fusion.targets import DAY
from ml.graph.graph import build_graph
from ml.rules.rule_set import RuleSet, default_rules

CONFIG = FusionConfig(epochs=3, folds=2)


def test_too_few_users_are_refused_before_anything_is_embedded(tables):
    graph = build_graph(tables)

    def embed_users(graph):
        raise AssertionError("nothing should be embedded")

    rules = RuleSet(default_rules(graph.schema), graph.schema)
    message = "the dataset has 4 users, training needs at least 10: upload more users"
    with pytest.raises(ValueError, match=message):
        fit_profile(graph, rules, embed_users, FusionConfig(), cut=None)


def neighbours_counted(graph):
    """Embeddings that show every edge that they were given."""
    embedding = np.zeros((graph.num_nodes[USER], 64), np.float32)
    for position, (key, edges) in enumerate(graph.edges.items()):
        for end, ids in ((0, edges.src), (2, edges.dst)):
            if key[end] == USER:
                np.add.at(embedding[:, 2 * position + end // 2], ids, 1.0)
    return embedding / 100


def test_what_comes_after_the_horizon_changes_neither_report_nor_fusion(population):
    """Counts, scales, rule hits, embedding and target: all are of the time they should be of."""
    graph = replace(build_graph(population), labels=None)
    last = max(int(edges.time.max()) for edges in graph.edges.values())
    cut = last - 60 * DAY
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    users, products = graph.node_ids["user"], graph.node_ids["product"]
    late = (cut - int(START.timestamp())) // DAY + 40
    rows = [
        *(("order", user, products[0], "product", late) for user in users),
        *(("call", user, users[0], "user", late) for user in users[::2]),
    ]
    planted = graph.append(events_frame(rows))
    one, two = (
        fit_profile(known, rules, neighbours_counted, CONFIG, cut=cut) for known in (graph, planted)
    )
    assert one.report.target == "future behaviour"
    assert one.report == two.report
    assert one.model.encoder == two.model.encoder
    weights = two.model.fusion.state_dict()
    for name, value in one.model.fusion.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_the_report_says_when_nothing_could_be_learned_from(population):
    graph = replace(build_graph(population, keep_timestamps=False), labels=None)
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    report = fit_profile(graph, rules, neighbours_counted, CONFIG, cut=None).report.to_dict()
    assert (report["target"], report["validated"], report["auc"]) == ("rules", False, None)
    (note,) = report["notes"]
    assert note.startswith("NOT VALIDATED")
    assert note.endswith("future behaviour: the events have no times to cut at")


def test_what_was_said_of_held_out_users_is_what_was_measured(fitted):
    held_out, report = fitted.profile.held_out, fitted.profile.report.to_dict()
    labels = dict(zip(fitted.graph.node_ids[USER], fitted.graph.labels.tolist(), strict=True))
    assert {user: labels[user] for user in held_out["user_id"]} == dict(
        held_out.select("user_id", "outcome").iter_rows()
    )
    assert held_out["user_id"].n_unique() == report["users"]
    for method, measured in report["methods"].items():
        assert auc(held_out["outcome"].to_numpy(), held_out[method].to_numpy()) == measured["auc"]


def test_nothing_was_said_of_anybody_where_the_rules_are_the_target(population):
    graph = replace(build_graph(population, keep_timestamps=False), labels=None)
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    held_out = fit_profile(graph, rules, neighbours_counted, CONFIG, cut=None).held_out
    assert held_out.height == 0
    assert {"user_id", "outcome", "fused"} <= set(held_out.columns)

import numpy as np

from ml.contracts.schema import TELECOM
from ml.fusion.facts import user_facts
from ml.graph.graph import build_graph
from ml.rules.rule_set import Rule, RuleSet


def test_facts_of_users_drawn_by_hand(tables):
    rules = RuleSet([Rule("costly", "monthly_fee >= 20", 1.0)], TELECOM)
    facts = user_facts(build_graph(tables), rules)
    assert facts["user_id"].to_list() == ["ann", "bob", "cat", "dan"]
    assert facts["edges user-calls-user"].to_list() == [1, 1, 0, 0]
    assert facts["edges user-calls-user (in)"].to_list() == [0, 1, 1, 0]
    assert facts["edges user-orders-product"].to_list() == [1, 1, 1, 0]
    assert facts["edges"].to_list() == [3, 4, 2, 1]
    assert facts["missing"].to_list() == [[], [], ["monthly_fee"], ["plan"]]
    assert facts["rule_hits"].to_list() == [[], ["costly"], [], ["costly"]]
    assert np.allclose(facts["rule_score"].to_numpy(), [0, 1, 0, 1])
    assert set(facts["attributes"]) == {5}


def test_a_workspace_without_rules_has_none_that_hit(tables):
    facts = user_facts(build_graph(tables), RuleSet([], TELECOM))
    assert facts["rule_hits"].to_list() == [[], [], [], []]
    assert facts["rule_score"].to_list() == [0.0] * 4

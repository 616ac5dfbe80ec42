import pytest

from ml.graph.graph import build_graph
from ml.profile.fitting import fit_profile
from ml.profile.fusion import FusionConfig
from ml.profile.rules import RuleSet, default_rules


def test_too_few_users_are_refused_before_anything_is_embedded(tables):
    graph = build_graph(tables)

    def embed_users(graph):
        raise AssertionError("nothing should be embedded")

    rules = RuleSet(default_rules(graph.schema), graph.schema)
    message = "the dataset has 4 users, training needs at least 10: upload more users"
    with pytest.raises(ValueError, match=message):
        fit_profile(graph, rules, embed_users, FusionConfig(), cut=None)

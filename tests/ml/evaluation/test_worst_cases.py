"""The worst pairs and users, compared with what a plain loop finds."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from msgspec import structs

from ml.contracts.reports.evaluation import WorstLink
from ml.evaluation.answers import OtherData, answer
from ml.evaluation.worst_links import KnownLinks, common, degrees, reasons, worst_links
from ml.evaluation.worst_users import worst_users
from ml.hgt.model import embed


@pytest.fixture(scope="module")
def answers(fitted):
    late = embed(fitted.trained.model, fitted.trained.encoder, fitted.split.observed)
    scorers = {
        edge.key: fitted.links.decoder.scorer(edge, fitted.split.observed, late)
        for edge in fitted.graph.schema.edges
    }
    return answer(fitted.split, scorers, fitted.links.report)


def test_asked_again_the_model_answers_as_it_was_measured(answers, fitted):
    measured = fitted.links.report.edge_types
    assert [found.edge.name for found in answers] == list(measured)
    for found in answers:
        of_type = measured[found.edge.name]
        assert len(found.queries) == of_type.evaluated
        assert (1 / found.ranks).mean() == pytest.approx(of_type.model.mrr, abs=1e-12)
        new = found.queries.slices["new"]
        told = of_type.slices["new"].model.recall_at_20
        assert (found.ranks_new[new] <= 20).mean() == pytest.approx(told)


def test_candidates_are_all_targets_but_the_other_held_out_ones(answers, fitted):
    for found in answers:
        edge, queries = found.edge, found.queries
        held = set(zip(queries.src.tolist(), queries.dst.tolist(), strict=True))
        for query in range(0, len(queries), 37):
            source, target = int(queries.src[query]), int(queries.dst[query])
            allowed = [
                other
                for other in range(fitted.graph.num_nodes[edge.target])
                if other == target
                or not ((source, other) in held or (edge.source == edge.target and other == source))
            ]
            assert found.candidates[query] == len(allowed)
        assert (found.ranks <= found.candidates).all()


def test_another_split_is_refused(fitted):
    measured = fitted.links.report
    name, row = next(iter(measured.edge_types.items()))
    other = {**measured.edge_types, name: structs.replace(row, held_out=1)}
    with pytest.raises(OtherData, match="measured on 1: evaluate it on the graph"):
        answer(fitted.split, {}, structs.replace(measured, edge_types=other))


def test_the_worst_pairs_have_the_largest_ranks_and_true_facts(answers, fitted):
    observed = fitted.split.observed
    for found in answers:
        rows = worst_links(observed, found)
        assert [row.rank for row in rows] == sorted(found.ranks.tolist(), reverse=True)[:5]
        pairs = observed.pairs(found.edge.key)
        known = set(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))
        for row in rows:
            source = observed.index(found.edge.source)[row.source]
            target = observed.index(found.edge.target)[row.target]
            mine = {t for s, t in known if s == source}
            others = {s for s, t in known if t == target}
            theirs = {t for s, t in known if s in others - {source}}
            assert row.known_before == ((source, target) in known)
            assert row.source_targets == len(mine)
            assert row.target_sources == len(others)
            assert row.common == len(mine & theirs - {target})
            assert row.why


def test_a_pair_in_the_first_place_is_no_bad_case(answers, fitted):
    found = answers[0]
    first = replace(found, ranks=np.ones_like(found.ranks))
    assert worst_links(fitted.split.observed, first) == []
    ranks = np.ones_like(found.ranks)
    ranks[3] = 1.5
    (row,) = worst_links(fitted.split.observed, replace(found, ranks=ranks))
    assert row.rank == 1.5


def test_degrees_count_both_directions_of_every_edge_type(fitted):
    graph = fitted.split.observed
    expected = np.zeros(graph.num_nodes["user"], int)
    for edge in graph.schema.edges:
        pairs = graph.pairs(edge.key)
        for source, target in zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True):
            expected[source] += edge.source == "user"
            expected[target] += edge.target == "user"
    assert degrees(graph, "user").tolist() == expected.tolist()


def test_a_pair_that_was_known_is_no_neighbour_of_itself(answers, fitted):
    found = answers[1]
    known = KnownLinks.of(fitted.split.observed, found)
    pairs = found.queries.known
    alone = [t for t, n in enumerate(np.bincount(pairs.dst)) if n == 1]
    for target in alone:
        assert common(known, int(pairs.src[pairs.dst == target][0]), target) == 0


def test_reasons_are_said_in_words():
    row = WorstLink(
        edge_type="user-uses-app", source_type="user", source="u1", target_type="app",
        target="a1", target_name=None, rank=9.0, of=9, known_before=False, source_targets=1,
        source_edges=4, target_sources=0, target_place=9, targets=9, common=0, why=[],
    )  # fmt: skip
    assert reasons(row) == [
        "the source has 1 edge of this type", "the target is new: no edge of this type before",
    ]  # fmt: skip
    usual = structs.replace(row, source_targets=7, target_sources=5, target_place=2, common=2)
    (only,) = reasons(usual)
    assert only.startswith("nothing sets it apart")
    unpopular = reasons(structs.replace(usual, target_place=6, target_sources=1711))
    assert unpopular == ["the target is less popular: edges of 1,711 users, place 6 of 9"]
    repeated = reasons(structs.replace(usual, known_before=True, common=0))
    assert len(repeated) == 2
    assert repeated[-1] == "the pair was there before"


HELD_OUT = pl.DataFrame(
    {
        "user_id": ["a", "b", "c", "d", "e", "f"],
        "outcome": pl.Series([1, 1, 1, 0, 0, 0], dtype=pl.Int8),
        "fused": [0.1, 0.05, 0.9, 0.95, 0.2, 0.95],
        "rules": [0.2] * 6,
        "boosting": [0.7, 0.1, 0.9, 0.9, 0.1, 0.2],
    }
)
FACTS = pl.DataFrame(
    {
        "user_id": ["a", "b", "c", "d", "e", "f"],
        "edges user-calls-user": [0, 2, 0, 7, 1, 0],
        "edges": [0, 2, 0, 7, 1, 0],
        "missing": [["plan"], [], [], [], [], []],
        "attributes": [3] * 6,
        "rule_hits": [[], ["loyal"], [], ["high_value"], [], []],
        "rule_score": [0.0, -0.5, 0.0, 0.5, 0.0, 0.0],
    }
)


def test_the_worst_users_are_the_most_confident_errors_of_both_kinds():
    rows = worst_users(HELD_OUT, FACTS, most=2)
    assert [(row.kind, row.user_id) for row in rows] == [
        ("missed", "b"), ("missed", "a"), ("false alarm", "d"), ("false alarm", "f"),
    ]  # fmt: skip
    assert rows[0].error == pytest.approx(0.95)
    assert rows[0].edges == {"user-calls-user": 2}
    assert rows[0].why == [
        "only 2 edges",
        "the rules say so too: rule score -0.50 (loyal)",
        "gradient boosting errs as well: 0.10",
    ]
    assert rows[1].why == [
        "no edges when it was scored",
        "1 of 3 attributes missing: plan",
        "gradient boosting is on the right side: 0.70",
    ]
    assert rows[3].why[-1] == "gradient boosting is on the right side: 0.20"


def test_without_answers_there_are_no_worst_users():
    assert worst_users(HELD_OUT.head(0), FACTS.head(0)) == []

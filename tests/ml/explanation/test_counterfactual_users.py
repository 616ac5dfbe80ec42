"""Evidence taken away through the network: counterfactual rows, neighbours, what arrives."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import shap
import torch
from games import exact_shapley
from torch.nn import functional as F
from worlds import world_of

from ml.contracts.schema import TELECOM, USER, EdgeType, Feature, GraphSchema, NodeType
from ml.explanation.counterfactual import counterfactual_user
from ml.explanation.explanation import Subject, explain_evidence, explain_flat, explain_groups
from ml.explanation.neighbourhood import NeighbourhoodIndex
from ml.explanation.neighbours import strongest_neighbours
from ml.explanation.players import Kinds
from ml.explanation.shapley import subsets
from ml.fusion.background import draw_background
from ml.fusion.evidence import AttributeEncoder, Evidence, gather_evidence, profile_frame
from ml.fusion.fusion import Fusion, Widths, score
from ml.fusion.scoring import ProfileModel
from ml.graph.graph import Edges, Graph, build_graph
from ml.graph.message_types import MessageType
from ml.hgt.encoders import MISSING_SLOT, FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.row_embedding import RowEdges, embed_rows, full_states, input_rows
from ml.rules.rule_set import DEFAULT_RULES, Rule, RuleSet, default_rules

CALLS, ORDERS = ("user", "calls", "user"), ("user", "orders", "product")
KINDS = Kinds.of(TELECOM)
EIGHT_RULES = (
    *DEFAULT_RULES,
    Rule("caller", "event_counts.get('call', 0) >= 10", 0.5),
    Rule("costly_months", "monthly_fee / max(tenure_months, 1) > 5", 0.5),
    Rule("shopper", "event_counts.get('order', 0) + event_counts.get('click', 0) > 25", -0.5),
    Rule("good_level", "level in ['gold', 'silver']", -0.5),
)


@pytest.fixture(params=[(), (10.0, 25.0)], ids=["ageless", "with ages"])
def world(request, tables):
    """The hand-drawn graph."""
    rules = RuleSet(default_rules(TELECOM), TELECOM)
    return world_of(build_graph(tables), rules, background=3, edge_ages=request.param)


@pytest.fixture(scope="module")
def populated(population):
    """Some hundred users with eight rules: thirteen players, as the product is delivered."""
    return world_of(build_graph(population), RuleSet(EIGHT_RULES, TELECOM), background=6)


def strongest(*given, **limits):
    return [one.to_dict() for one in strongest_neighbours(*given, **limits)]


def user_of(world, index, since=None):
    frame = world.frame[index]
    around = world.index.of(frame["user_id"][0], since)
    return counterfactual_user(world.network, world.encoder, world.states, around, frame)


def generic(world):
    """The first state of a user without attributes and id, spelled out."""
    projection = world.network.project[USER]
    numeric, categorical = TELECOM.user.names("numeric"), TELECOM.user.names("categorical")
    row = torch.zeros(1, 2 * len(numeric) + 1)
    row[0, 1 : 2 * len(numeric) : 2] = 1.0  # value 0, missing 1, for each
    row[0, -1] = 1.0
    h = projection.lin(row) + projection.ids.weight[:1]
    for position in range(len(categorical)):
        h = h + projection.categories[position].weight[MISSING_SLOT]
    return world.network.norm[USER](h).detach()


def message_of(world, key, source, target):
    """Along an edge, with the class of the pair's age, from its first event."""
    bounds, edges = world.network.config.edge_ages, world.graph.edges[key]
    if not bounds or edges.time is None:
        return MessageType(*key)
    first = edges.time[(edges.src == source) & (edges.dst == target)].min()
    days = (world.graph.latest() - first) / 86_400
    return MessageType(*key, age=int(sum(days >= bound for bound in bounds)))


def by_hand(world, index, coalition):
    """The embedding of one user from one row with the edges and features that are in play."""
    frame = world.frame[index]
    features = frame.select(f.name for f in TELECOM.user.features)
    if coalition[0]:
        h0 = input_rows(world.network, world.encoder, USER, features, frame["user_id"].to_list())
    else:
        h0 = generic(world)
    found = {}
    for edge in world.graph.schema.edges:
        pairs = world.graph.pairs(edge.key)
        if not coalition[KINDS.of_event(edge.event)]:
            continue
        for s, d in zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True):
            message = message_of(world, edge.key, s, d)
            if edge.target == USER and d == index:
                found.setdefault(message, []).append(s)
            if s == index:
                found.setdefault(message.reversed, []).append(d)
    source = {key: torch.tensor(nodes) for key, nodes in found.items()}
    start = {key: torch.tensor([0, len(nodes)]) for key, nodes in found.items()}
    z = embed_rows(world.network, world.states, USER, h0, RowEdges(start, source))
    assert torch.allclose(z, F.normalize(z, dim=1), atol=1e-6)
    return z.numpy()[0]


def test_a_user_with_all_evidence_is_the_user(world):
    for index in range(world.graph.num_nodes[USER]):
        z = user_of(world, index).embed(np.ones((1, len(KINDS)), bool))
        assert np.allclose(z[0], world.embeddings[USER][index], atol=1e-5)


def test_each_coalition_is_the_user_without_that_evidence(world):
    coalitions = subsets(len(KINDS))
    for index in range(world.graph.num_nodes[USER]):
        z = user_of(world, index).embed(coalitions)
        assert z.dtype == np.float32
        for coalition, row in zip(coalitions, z, strict=True):
            assert np.allclose(row, by_hand(world, index, coalition), atol=1e-5)


def test_everybody_begins_at_the_same_base(world):
    """Without evidence nobody is anybody: neither id nor edges may tell users apart."""
    bases = set()
    for index in range(world.graph.num_nodes[USER]):
        subject = Subject(world.evidence.take(np.array([index])), {})
        embed_user = user_of(world, index).embed
        found = explain_evidence(world.model, subject, world.background, embed_user).to_dict()
        bases.add(round(found["base"], 6))
    assert len(bases) == 1


def test_small_blocks_give_the_same_rows(world, monkeypatch):
    user, coalitions = user_of(world, 0), subsets(len(KINDS))
    whole = user.embed(coalitions)
    monkeypatch.setattr("ml.explanation.counterfactual.BLOCK_EDGES", 1)
    assert np.allclose(user.embed(coalitions), whole, atol=1e-6)


def worth_by_hand(world, index):
    """What coalitions are worth, through network, rules and fusion; each state embedded once."""
    user, others = world.evidence.take(np.array([index])), world.background.evidence
    rules, owner, z_of = len(world.model.rules), KINDS.owner(world.model.encoder), {}

    def value(coalitions):
        inside = np.asarray(coalitions, bool)[:, None]  # [C, 1, players], beside the background
        kinds, size = inside[..., rules:], (len(inside), len(others))
        for state in map(tuple, kinds[:, 0]):
            if state not in z_of:
                z_of[state] = by_hand(world, index, state)
        z = np.stack([z_of[tuple(state)] for state in kinds[:, 0]])
        hits = np.where(inside[..., :rules], user.hits, others.hits).reshape(-1, rules)
        attributes = np.where(kinds[..., owner], user.attributes, others.attributes)
        risk = np.asarray(world.rules.score(hits > 0), np.float64)
        evidence = Evidence(
            hits, risk, np.repeat(z, len(others), 0), attributes.reshape(len(hits), -1)
        )
        return score(world.model.fusion, evidence).final.reshape(size).mean(1)

    return value


def shares_of(world, index):
    """What is said of a user; the contributions in the order of the players."""
    subject = Subject(world.evidence.take(np.array([index])), {})
    embed_user = user_of(world, index).embed
    found = explain_evidence(world.model, subject, world.background, embed_user).to_dict()
    assert found["method"].startswith("exact")
    said = {(r["kind"], r["player"]): r["contribution"] for r in found["contributions"]}
    names = [("rule", rule.name) for rule in world.model.rules]
    names += [("attributes", "attributes")] + [("events", word) for word in KINDS.words]
    return found, np.array([said[name] for name in names])


def test_the_shares_are_those_of_the_definition_through_network_and_fusion(world):
    """Every coalition by itself: network, rules, fusion; then Shapley's formula."""
    players = len(world.model.rules) + len(KINDS)
    expected = exact_shapley(worth_by_hand(world, 0), players)
    found, shares = shares_of(world, 0)
    whole = score(world.model.fusion, world.evidence.take(np.array([0]))).final[0]
    assert np.allclose(shares, expected.phi, rtol=0, atol=1e-6)
    assert found["base"] == pytest.approx(expected.base, abs=1e-6)
    assert found["score"] == pytest.approx(whole, abs=1e-5)


def test_thirteen_players_get_the_shares_that_shap_gives_them(populated):
    """Eight rules and five kinds through the network, beside shap on the same function."""
    players = len(populated.model.rules) + len(KINDS)
    assert players == 13
    acting = np.zeros(players, bool)
    meets = populated.evidence.hits[:, 0] > 0
    for index in (int(meets.argmax()), int(meets.argmin())):
        peer = shap.ExactExplainer(worth_by_hand(populated, index), np.zeros((1, players)))
        expected = peer(np.ones((1, players)), batch_size=2**players)
        found, shares = shares_of(populated, index)
        assert np.allclose(shares, expected.values[0], rtol=0, atol=1e-6)
        assert found["base"] == pytest.approx(float(expected.base_values[0]), abs=1e-6)
        acting |= np.abs(shares) > 1e-4
    assert acting.all()  # at one of the two: nobody's share is zero for want of a difference


def test_what_arrives_is_what_the_pairs_say(world):
    for index, name in enumerate(world.graph.node_ids[USER]):
        around = world.index.of(name)
        for edge in world.graph.schema.edges:
            pairs, message = world.graph.pairs(edge.key), MessageType(*edge.key)
            sent = around.sources[message.reversed]
            assert sorted(sent) == sorted(pairs.dst[pairs.src == index])
            if edge.target == USER:
                arrived = around.sources[message]
                assert sorted(arrived) == sorted(pairs.src[pairs.dst == index])
                assert around.events[message].sum() == pairs.count[pairs.dst == index].sum()


def since(*rows):
    names = ("type", "actor", "target", "target_type")
    events = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return events.with_columns(timestamp=pl.lit(None, dtype=pl.Datetime("us", "UTC")))


def test_events_since_are_what_the_graph_with_them_says(world):
    users, products = world.graph.node_ids[USER], world.graph.node_ids["product"]
    rows = [
        ("order", users[0], products[1], "product"),
        ("order", users[0], products[1], "product"),
        ("call", users[2], users[0], "user"),
        ("call", users[0], users[1], "user"),
        ("call", users[1], users[2], "user"),
    ]
    days = pl.Series([datetime(2025, 1, 1 + 9 * n, tzinfo=UTC) for n in (1, 2, 0, 3, 1)])
    events = since(*rows).with_columns(timestamp=days.cast(pl.Datetime("us", "UTC")))
    later = NeighbourhoodIndex(world.graph.append(events), world.index.ages)
    for name in users[:1]:
        mine = events.filter((pl.col("actor") == name) | (pl.col("target") == name))
        found, expected = world.index.of(name, mine), later.of(name)
        assert found.unknown == 0
        for key, sources in expected.sources.items():
            assert np.array_equal(np.sort(found.sources[key]), np.sort(sources))
            order, other = np.argsort(found.sources[key]), np.argsort(sources)
            assert np.array_equal(found.events[key][order], expected.events[key][other])
            assert np.array_equal(found.ages[key][order], expected.ages[key][other])


def test_neighbours_that_the_graph_does_not_know_are_counted_and_left_out(world):
    name = world.graph.node_ids[USER][0]
    rows = since(("order", name, "new", "product"), ("call", "new", name, "user"))
    found = world.index.of(name, rows)
    assert found.unknown == 2
    assert found.num_edges == world.index.of(name).num_edges


def test_a_user_that_the_graph_does_not_know_has_what_came_since(world):
    product = world.graph.node_ids["product"][1]
    found = world.index.of("new", since(("order", "new", product, "product")))
    assert found.num_edges == 1
    assert found.sources[MessageType(*ORDERS).reversed].tolist() == [1]


def without(world, index, kind, neighbour):
    """The score of a user in whose rows one neighbour's edges and events of a kind are missing."""
    node_type, name = neighbour
    user, frame = user_of(world, index), world.frame[index]
    at = world.graph.index(node_type)[name]
    masks, acted = {}, 0
    for message, sources in user.neighbourhood.sources.items():
        hit = (sources == at) & (user.kind_of[message] == kind) & (message.source == node_type)
        masks[message] = ~hit[None]
        if message.reverse:
            acted += int(user.neighbourhood.events[message][hit].sum())
    column = f"event_counts.{KINDS.events[kind - 1]}"
    less = frame.with_columns((pl.col(column).fill_null(0) - acted).alias(column))
    evidence = world.evidence.take(np.array([index]))
    z = user.rows(np.ones(1, bool), masks)
    attributes = world.model.encoder.transform(less)
    left = Evidence(evidence.hits, evidence.rule_score, z, attributes)
    return score(world.model.fusion, left).final[0]


def test_neighbours_are_left_out_one_by_one(world):
    for index in range(world.graph.num_nodes[USER]):
        evidence = world.evidence.take(np.array([index]))
        user, frame = user_of(world, index), world.frame[index]
        found = strongest(world.model, user, world.graph, evidence, frame)
        whole = score(world.model.fusion, evidence).final[0]
        for entry in found:
            kind = KINDS.names.index(entry["player"])
            assert entry["tried"] == entry["neighbours"] == len(entry["strongest"])
            for row in entry["strongest"]:
                expected = whole - without(world, index, kind, (row["type"], row["id"]))
                assert row["contribution"] == pytest.approx(expected, abs=1e-5)
                assert row["events"] >= 1


@pytest.fixture
def busy(world):
    """The first user with calls from and orders of everything there is."""
    users, products = world.graph.node_ids[USER], world.graph.node_ids["product"]
    rows = [("order", users[0], product, "product") for product in products]
    rows += [("call", other, users[0], "user") for other in users[1:]]
    return user_of(world, 0, since(*rows, rows[-1]))


def neighbours_of(world, user, **limits):
    evidence = world.evidence.take(np.array([0]))
    return strongest(world.model, user, world.graph, evidence, world.frame[0], **limits)


def test_the_strongest_neighbours_come_first_and_have_names(world, busy):
    short, found = neighbours_of(world, busy, most=2), neighbours_of(world, busy)
    assert {"calls", "orders"} <= {entry["player"] for entry in found}
    for few, all_of_them in zip(short, found, strict=True):
        strongest = all_of_them["strongest"]
        sizes = [abs(row["contribution"]) for row in strongest]
        assert sizes == sorted(sizes, reverse=True)
        assert few["strongest"] == strongest[:2]
        for row in strongest:
            assert (row["name"] is None) == (row["type"] == USER)


def test_only_so_many_neighbours_are_tried_those_with_most_events_first(world, busy):
    found = {entry["player"]: entry for entry in neighbours_of(world, busy, tried=1)}
    assert {entry["tried"] for entry in found.values()} == {1}
    assert found["calls"]["neighbours"] == 3
    most = max(row["events"] for row in neighbours_of(world, busy)[0]["strongest"])
    assert found["calls"]["strongest"][0]["events"] == most >= 2


def test_a_user_without_neighbours_has_none(world):
    around = world.index.of("nobody")
    frame = world.frame[0].with_columns(user_id=pl.lit("nobody"))
    user = counterfactual_user(world.network, world.encoder, world.states, around, frame)
    evidence = world.evidence.take(np.array([0]))
    assert strongest_neighbours(world.model, user, world.graph, evidence, frame) == []


@pytest.mark.parametrize("features", [(), (Feature("fee", "numeric"),)])
@pytest.mark.parametrize("edges", [(), (EdgeType("item", "shown", "user", "show"),)])
def test_any_schema_can_be_explained(features, edges):
    """Users without features, without events, or with events in which they do nothing."""
    schema = GraphSchema((NodeType("user", features), NodeType("item")), edges)
    frame = pl.DataFrame({f.name: [1.0, None, 3.0] for f in features})
    pairs = {edge.key: Edges(np.array([0, 1, 0]), np.array([0, 0, 2])) for edge in edges}
    graph = Graph(
        schema, {"user": ("a", "b", "c"), "item": ("i", "j")},
        {"user": frame, "item": pl.DataFrame()}, pairs,
    )  # fmt: skip
    encoder = FeatureEncoder.fit(schema, graph.features, graph.node_ids)
    network = build_model(encoder, ModelConfig(), seed=0).eval()
    known = profile_frame(graph)
    attributes = AttributeEncoder.fit(schema, known)
    z = embed(network, encoder, graph)[USER]
    evidence = gather_evidence(RuleSet((), schema), attributes, known, z)
    fusion = Fusion(Widths.of(evidence), 4)
    torch.nn.init.normal_(fusion.nn_lin.weight, generator=torch.Generator().manual_seed(1))
    model = ProfileModel(schema, (), attributes, fusion)
    user = counterfactual_user(
        network, encoder, full_states(network, encoder, graph),
        NeighbourhoodIndex(graph).of("a"), known[0],
    )  # fmt: skip
    subject = Subject(evidence.take(np.array([0])), {}, score(fusion, evidence).final[0])
    background = draw_background(evidence, graph.node_ids[USER])
    found = explain_evidence(model, subject, background, user.embed).to_dict()
    assert abs(found["drift"]) < 1e-6
    assert found["additivity_error"] < 1e-9
    assert len(found["contributions"]) == 1 + len(edges)
    effects = strongest(model, user, graph, subject.evidence, known[0])
    assert [entry["neighbours"] for entry in effects] == [2] * len(edges)
    for view in (explain_groups, explain_flat):
        assert view(model, subject, background).additivity_error < 1e-9

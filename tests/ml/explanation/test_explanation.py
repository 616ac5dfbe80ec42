"""What an explanation says: one game with a base and a score, its parts, and what is said of it."""

import numpy as np
import pytest
import shap
from games import exact_shapley, small, worth_by_hand

from ml.contracts.reports.explanation import Contribution
from ml.contracts.schema import TELECOM, EdgeType, GraphSchema, NodeType
from ml.explanation.explanation import Subject, explain_evidence, explain_flat, explain_groups
from ml.explanation.players import Kinds, in_words
from ml.fusion.background import draw_background, zero_background
from ml.fusion.fusion import score
from ml.graph.message_types import MessageType


def explained(game, **more):
    return explain_evidence(game.model, game.subject, game.background, game.embed, **more).to_dict()


def parts(found):
    return {(row["kind"], row["player"]): row["contribution"] for row in found["contributions"]}


def by_hand(game):
    """Shapley values by the definition, each coalition straight through the fusion."""

    def value(coalitions):
        return np.array([worth_by_hand(game, coalition) for coalition in coalitions])

    return exact_shapley(value, len(game.rules) + len(game.kinds))


def in_order(game, found):
    """Contributions as rules, attributes, events."""
    names = [("rule", name) for name in game.rules.names] + [("attributes", "attributes")]
    names += [("events", word) for word in game.kinds.words]
    said = parts(found)
    return np.array([said[name] for name in names])


@pytest.mark.parametrize("rules", [0, 3])
def test_contributions_are_those_of_the_definition(rules):
    game = small(rules=rules)
    found, expected = explained(game), by_hand(game)
    assert np.allclose(in_order(game, found), expected.phi, rtol=0, atol=1e-6)
    assert found["base"] == pytest.approx(expected.base, abs=1e-7)
    assert found["score"] == pytest.approx(expected.score, abs=1e-7)
    assert "exact" in found["method"]


def test_contributions_agree_with_shap():
    game = small(rules=2)
    n = 2 + len(game.kinds)

    def value(x):
        return np.array([worth_by_hand(game, row) for row in x.astype(bool)])

    expected = shap.ExactExplainer(value, np.zeros((1, n)))(np.ones((1, n))).values[0]
    assert np.allclose(in_order(game, explained(game)), expected, rtol=0, atol=1e-6)


def test_with_everything_in_play_it_is_the_score_of_the_users_own_embedding():
    game = small()
    whole = game.user.take(np.array([0]))
    whole.embedding[:] = game.embed(np.ones((1, len(game.kinds)), bool))
    assert explained(game)["score"] == pytest.approx(score(game.fusion, whole).final[0], abs=1e-6)


@pytest.mark.parametrize(
    ("rules", "events", "sampled"), [(3, 2, False), (20, 2, False), (60, 2, True), (2, 12, True)]
)
def test_contributions_add_up(rules, events, sampled):
    game = small(rules=rules, events=tuple(f"event{i}" for i in range(events)))
    found = explained(game)
    total = sum(row["contribution"] for row in found["contributions"])
    assert found["score"] - found["base"] == pytest.approx(total, abs=1e-6)
    assert found["additivity_error"] < 1e-9
    assert ("antithetic" in found["method"]) == sampled
    assert (found["standard_error"] > 0) == sampled
    assert any("were sampled" in note for note in found["notes"]) == sampled


def test_sampled_contributions_are_as_near_the_exact_ones_as_is_said():
    game = small(rules=5, events=tuple(f"event{i}" for i in range(8)))  # nine kinds are sampled
    found = explained(game)
    assert "antithetic" in found["method"]
    away = np.abs(in_order(game, found) - by_hand(game).phi).max()
    assert 0 < away < 3 * found["standard_error"] < 0.02


def test_evidence_that_changes_nothing_gets_nothing():
    game = small(attributes=False)
    game.embed = lambda coalitions: np.ones((len(coalitions), 4), np.float32)
    said = parts(explained(game))
    assert all(abs(part) < 1e-12 for (kind, _), part in said.items() if kind != "rule")
    assert any(abs(part) > 1e-3 for (kind, _), part in said.items() if kind == "rule")


def test_players_have_names_values_and_a_summary():
    found = explained(small())
    shown = {row["player"]: row for row in found["contributions"]}
    assert shown["calls"]["kind"] == "events"
    assert shown["calls"]["value"] == 3
    assert shown["attributes"]["value"] == {"fee": 70.0, "tenure": None}
    assert shown["r0"]["value"] in (True, False)
    sizes = [abs(row["contribution"]) for row in found["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    first = found["contributions"][0]
    assert first["player"] in found["summary"].split(",")[0]


def test_a_summary_reads_as_people_speak():
    rows = [("events", "calls", -0.123), ("rule", "loyal", 0.05), ("events", "orders", 0.001)]
    said = [Contribution(kind=k, player=p, contribution=c, value=None) for k, p, c in rows]
    assert in_words(said) == "calls \N{MINUS SIGN}0.12, rule loyal +0.05"
    assert in_words(said[2:]) == "no part moves the score by .005 or more"


def test_kinds_of_evidence_bear_the_names_of_relations():
    assert Kinds.of(TELECOM).names == ("attributes", "calls", "orders", "clicks", "uses")
    kinds = Kinds.of(TELECOM).of_messages(TELECOM)
    calls = MessageType("user", "calls", "user")
    assert kinds[calls] == kinds[calls.reversed] == 1
    clicks = [MessageType("user", "clicks", end) for end in ("app", "product")]
    assert [kinds[message.reversed] for message in clicks] == [3, 3]


def test_two_events_with_one_relation_keep_their_own_names():
    nodes = tuple(NodeType(name) for name in ("user", "film", "song"))
    edges = (EdgeType("user", "likes", "film", "rate"), EdgeType("user", "likes", "song", "play"))
    assert Kinds.of(GraphSchema(nodes, edges)).words == ("rate", "play")


def test_drift_is_told_where_there_is_some():
    game = small()
    same = explained(game)["score"]
    for stored, told in ((same, False), (same + 5e-7, False), (same + 0.01, True)):
        game.subject = Subject(game.user, {}, stored)
        found = explained(game)
        assert found["drift"] == pytest.approx(stored - same, abs=1e-12)
        assert any("changed in between" in note for note in found["notes"]) == told


def test_it_says_what_is_held_fixed():
    said = " ".join(explained(small())["notes"])
    for word in ("neighbours' states are held fixed", "id", "base"):
        assert word in said


def test_the_background_has_an_id_of_its_content_and_its_size_is_shown():
    game = small()
    evidence, users = game.background.evidence, [f"u{i}" for i in range(7)]
    one = draw_background(evidence, users, size=4, seed=2)
    assert one.id == draw_background(evidence, users, size=4, seed=2).id
    assert one.id != draw_background(evidence, users, size=4, seed=3).id
    assert one.id != draw_background(evidence, users, size=5, seed=2).id
    found = explained(game)["background"]
    assert found == {"id": game.background.id, "kind": "sample", "size": 7, "seed": 1}
    assert explained(game)["warnings"] == []


def test_a_background_needs_the_ids_of_its_users():
    with pytest.raises(ValueError, match="3 user ids"):
        draw_background(small().background.evidence, ["a", "b", "c"])


@pytest.mark.parametrize("view", ["evidence", "groups", "flat"])
def test_a_background_of_zeros_carries_a_warning(view):
    game = small()
    zero = zero_background(game.user)
    found = {
        "evidence": lambda: explain_evidence(game.model, game.subject, zero, game.embed).to_dict(),
        "groups": lambda: explain_groups(game.model, game.subject, zero).to_dict(),
        "flat": lambda: explain_flat(game.model, game.subject, zero).to_dict(),
    }[view]()
    assert found["background"]["kind"] == "zero"
    assert "zeros" in found["warnings"][0]
    assert found["additivity_error"] < 1e-9


def test_the_same_seed_gives_the_same_values():
    game = small(rules=60)
    assert explained(game) == explained(game)
    assert explained(game, seed=1)["contributions"] != explained(game)["contributions"]
    flat = [
        explain_flat(game.model, game.subject, game.background, seed=s).to_dict() for s in (3, 3, 4)
    ]
    assert flat[0] == flat[1]
    assert flat[0]["contributions"] != flat[2]["contributions"]


def test_more_than_one_user_is_refused():
    with pytest.raises(ValueError, match="one user"):
        Subject(small().background.evidence, {})

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from optimizing_cases import NOW, balanced
from scipy import sparse

from ml.contracts.schema import TELECOM
from ml.data.frames import make_tables
from ml.evaluation.baselines import item_knn
from ml.graph.graph import UNKNOWN_TIME, Edges, build_graph
from ml.graph.splits import split_graph, with_added
from ml.optimizing import augmenting, similarity
from ml.optimizing.actions import parse
from ml.optimizing.added import separate
from ml.optimizing.augmenting import augment
from ml.optimizing.optimization import optimize

LATER = NOW.replace(year=2100)
ORDERS, CALLS = "user-orders-product", "user-calls-user"
KEY = ("user", "orders", "product")


def asked(edge_type=ORDERS, factor=2.0, **more):
    return {"action": "augment", "edge_type": edge_type, "factor": factor, **more}


@pytest.fixture(scope="module", params=["timed", "untimed"])
def raw(request, population):
    if request.param == "timed":
        return population
    bare = population.events.with_columns(timestamp=pl.lit(None, pl.Datetime("us", "UTC")))
    return replace(population, events=bare)


def named(graph, key, edges):
    ids = graph.node_ids
    return {(ids[key[0]][s], ids[key[2]][t]) for s, t in zip(edges.src, edges.dst, strict=True)}


def same(one, other):
    return (
        np.array_equal(one.src, other.src)
        and np.array_equal(one.dst, other.dst)
        and (one.time is other.time is None or np.array_equal(one.time, other.time))
    )


def nearest_by_name(graph, edge):
    """For each target the ids of its nearest, from the whole matrix."""
    pairs, names = graph.pairs(edge.key), graph.node_ids[edge.target]
    generator = np.random.default_rng(0)
    similar = similarity.cosine(pairs, graph.num_nodes[edge.source], len(names), generator)
    near = {}
    for row, values in enumerate(similar.toarray()):
        order = sorted(range(len(values)), key=lambda other: (-values[other], other))
        others = [other for other in order if values[other] > 0 and other != row]
        near[names[row]] = {names[other] for other in others[: similarity.NEIGHBOURS]}
    return near


@pytest.mark.parametrize("keep_timestamps", [True, False])
@pytest.mark.parametrize(("scope", "ratio"), [("full", 1.0), ("sampled", 0.6)])
def test_the_split_is_that_of_the_cleaned_raw_data(raw, keep_timestamps, scope, ratio):
    """Cuts, train, validation and test part: every array of them."""
    how = {"keep_timestamps": keep_timestamps, "scope": scope, "sample_ratio": ratio, "seed": 3}
    cleaned, _ = optimize(raw, [], 3, now=LATER)
    split = split_graph(build_graph(cleaned, **how), seed=3)
    actions = [asked(), asked(CALLS, 3), asked("user-uses-app", 1.5, sources="1-20")]
    derived, _ = optimize(raw, actions, 3, now=LATER, split=split)
    assert derived.events.height > cleaned.events.height + 50
    real, added = separate(derived)
    assert real.events.equals(cleaned.events)
    graph = build_graph(real, **how)
    again = split_graph(graph, seed=3)
    assert again.cuts == split.cuts
    for key in graph.edges:
        assert same(again.train.edges[key], split.train.edges[key])
        assert same(again.observed.edges[key], split.observed.edges[key])
        assert same(again.validation[key], split.validation[key])
        assert same(again.test[key], split.test[key])
    learned = with_added(again, graph.edges_of(added))
    assert learned.num_events == split.train.num_events + added.height


def test_added_events_are_new_pairs_of_the_train_part(raw):
    """By loops over the definition: who gets how many, of which targets, at which times."""
    split = split_graph(build_graph(raw), seed=5)
    actions = [asked(factor=2.5, sources="2-6"), asked(CALLS, 2)]
    derived, steps = optimize(raw, actions, 5, now=LATER, split=split)
    _, added = separate(derived)
    assert [step.name for step in steps] == ["clean", "deduplicate", "augment", "augment"]
    assert all(balanced(step) for step in steps)
    for action in actions:
        edge = parse(action, TELECOM).edge
        train = named(split.train, edge.key, split.train.edges[edge.key])
        held = named(split.train, edge.key, split.validation[edge.key])
        held |= named(split.train, edge.key, split.test[edge.key])
        near = nearest_by_name(split.train, edge)
        targets = defaultdict(set)
        for source, target in train:
            targets[source].add(target)
        events = added.filter(type=edge.event, target_type=edge.target)
        made = defaultdict(set)
        for source, target in events.select("actor", "target").iter_rows():
            assert target not in made[source]
            made[source].add(target)
        least, most = parse(action, TELECOM).sources
        for source, mine in targets.items():
            similar = {t for own in mine for t in near[own]}
            free = {t for t in similar - mine if t != source}
            asked_about = {t for t in free if (source, t) in held}
            wanted = math.ceil((action["factor"] - 1) * len(mine))
            wanted *= least <= len(mine) <= most
            assert made[source] <= free - asked_about
            drawn = min(wanted, len(free))
            assert drawn - len(asked_about) <= len(made[source]) <= drawn
        assert set(made) <= set(targets)
        times = defaultdict(set)
        edges = split.train.edges[edge.key]
        for place, target in enumerate(edges.dst):
            name = split.train.node_ids[edge.target][target]
            times[name].add(None if edges.time is None else int(edges.time[place]))
        rows = events.select("target", pl.col("timestamp").dt.epoch("s")).iter_rows()
        assert all(time in times[target] for target, time in rows)
    if split.cuts:
        assert added["timestamp"].dt.epoch("s").max() < split.cuts[0]
    ids = derived.events["event_id"].drop_nulls()
    assert ids.n_unique() == len(ids)
    assert added["event_id"].to_list() == [f"augmented-{n + 1}" for n in range(added.height)]


@pytest.mark.parametrize("action", [asked(factor=2.5, sources="2-6"), asked(CALLS, 2)])
def test_the_draw_knows_nothing_of_what_is_held_out(raw, action):
    """What is drawn of it is dropped, and nothing else stands in its place."""
    split = split_graph(build_graph(raw), seed=5)
    key = parse(action, TELECOM).edge.key
    nothing = dict.fromkeys(split.test, Edges(*np.empty((2, 0), np.int64)))
    blind = replace(split, validation=nothing, test=nothing)
    drawn, kept = (
        set(
            separate(optimize(raw, [action], 5, now=LATER, split=known)[0])[1]
            .select("actor", "target")
            .iter_rows()
        )
        for known in (blind, split)
    )
    held = named(split.train, key, split.validation[key]) | named(split.train, key, split.test[key])
    assert drawn & held
    assert kept == drawn - held


def test_the_same_seed_gives_the_same_events_and_another_others(raw):
    once, steps = optimize(raw, [asked(because="Recall@20 .08")], 7, now=LATER)
    twice, _ = optimize(raw, [asked(because="Recall@20 .08")], 7, now=LATER)
    other, _ = optimize(raw, [asked()], 8, now=LATER)
    assert once.events.equals(twice.events)
    assert not once.events.equals(other.events)
    step = steps[-1].to_dict()
    assert step["because"] == "Recall@20 .08"
    assert step["parameters"] == {"edge_type": ORDERS, "factor": 2.0, "sources": "1-4"}
    assert step["after"][ORDERS] - step["before"][ORDERS] == step["changes"][0]["rows"] > 0
    assert step["changes"][0]["examples"][0] == "augmented-1"


def test_more_suggestions_go_on_from_what_was_added(raw):
    once, _ = optimize(raw, [asked()], 7, now=LATER)
    twice, steps = optimize(once, [asked()], 7, now=LATER)
    added = separate(twice)[1]
    assert added.height > separate(once)[1].height
    assert added["event_id"].n_unique() == added.height
    assert added.select("actor", "target").n_unique() == added.height
    assert steps[0].before == steps[0].after


def test_scores_are_those_of_item_knn(population, monkeypatch):
    """In parts of any size, and the draw goes by them."""
    split = split_graph(build_graph(population))
    pairs = split.train.pairs(KEY)
    users, products = split.train.num_nodes["user"], split.train.num_nodes["product"]
    generator = np.random.default_rng(0)
    seen = similarity.incidence(pairs, users, products)
    similar = similarity.cosine(pairs, users, products, generator)
    expected = item_knn(pairs, users, products)(np.arange(users))
    assert np.allclose((seen @ similar).toarray(), expected, atol=1e-4)
    parts = list(similarity.chunks(np.arange(users), seen, similar, limit=500))
    assert len(parts) > 5
    assert np.array_equal(np.concatenate(parts), np.arange(users))
    whole, _ = optimize(population, [asked()], 1, now=LATER, split=split)
    monkeypatch.setattr(augmenting, "chunks", lambda *a: similarity.chunks(*a, limit=500))
    cut, _ = optimize(population, [asked()], 1, now=LATER, split=split)
    assert cut.events.equals(whole.events)


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_the_nearest_are_the_largest_and_of_equals_the_first(count):
    generator = np.random.default_rng(count)
    dense = generator.integers(0, 4, (30, 30)) / 4
    found = similarity.nearest(sparse.csr_array(dense), count).toarray()
    for row, values in enumerate(dense):
        order = sorted(range(30), key=lambda other: (-values[other], other))
        kept = [other for other in order if other != row and values[other] > 0][:count]
        expected = np.zeros(30)
        expected[kept] = values[kept]
        assert np.array_equal(found[row], expected)


def test_a_bound_on_products_draws_sources(population):
    pairs = build_graph(population).pairs(KEY)
    users, products = len(population.users), len(population.products)

    def cosine(seed, limit):
        generator = np.random.default_rng(seed)
        found = similarity.cosine(pairs, users, products, generator, max_products=limit)
        return found.toarray()

    assert np.array_equal(cosine(1, 1000), cosine(1, 1000))
    assert not np.array_equal(cosine(1, 1000), cosine(2, 1000))
    assert not np.array_equal(cosine(1, 1000), cosine(1, 10**9))
    assert np.allclose(np.diag(cosine(1, 10**9)), 1.0)


def test_targets_are_drawn_in_proportion_to_their_score():
    count = 20_000
    src, dst = np.repeat(np.arange(count), 3), np.tile(np.arange(3), count)
    score = np.tile(np.array([1, 2, 7], np.float32), count)
    drawn = augmenting._draw(src, dst, score, np.ones(count, int), np.random.default_rng(0))
    share = np.bincount(drawn[1], minlength=3) / count
    assert np.allclose(share, [0.1, 0.2, 0.7], atol=0.02)


def test_added_events_follow_the_planted_structure(population):
    """Where held-out pairs may be drawn, they are: far more of them than by chance."""
    split = split_graph(build_graph(population), seed=1)
    train = named(split.train, KEY, split.train.edges[KEY])
    held = named(split.train, KEY, split.test[KEY]) | named(split.train, KEY, split.validation[KEY])
    blind = replace(split, validation={**split.validation, KEY: _none()}, test=_empty(split))
    action = parse(asked(factor=3, sources="1-20"), TELECOM)
    added = augment(population, blind, action, np.random.default_rng(0))
    hits = np.mean([pair in held for pair in added.select("actor", "target").iter_rows()])
    nodes = split.train.num_nodes
    by_chance = len(held - train) / (nodes["user"] * nodes["product"] - len(train))
    assert hits > 1.5 * by_chance


def _none():
    nothing = np.empty(0, np.int64)
    return Edges(nothing, nothing, nothing)


def _empty(split):
    return {**split.test, KEY: _none()}


def test_what_the_log_alone_knows_gets_no_events(population):
    """Nodes that are not in the tables would be dangling there."""
    gone = set(population.users["user_id"].to_list()[::2])
    kept = population.users.filter(~pl.col("user_id").is_in(list(gone)))
    ends = pl.col("actor").is_in(list(gone)) | pl.col("target").is_in(list(gone))
    fewer = replace(population, users=kept, events=population.events.filter(~ends))
    split = split_graph(build_graph(population))
    derived, _ = optimize(fewer, [asked(factor=3), asked(CALLS, 3)], 1, now=LATER, split=split)
    added = separate(derived)[1]
    assert added.height
    assert not gone & (set(added["actor"]) | set(added["target"]))


def test_numbers_go_on_after_ids_that_are_there(population):
    odd = population.events.head(3).with_columns(
        event_id=pl.Series(["augmented-41", "augmented-x", "augmented-" + "9" * 30])
    )
    uploaded = replace(population, events=pl.concat([odd, population.events.slice(3)]))
    derived, _ = optimize(uploaded, [asked()], 1, now=LATER)
    assert separate(derived)[1]["event_id"].to_list()[3:5] == ["augmented-42", "augmented-43"]


@pytest.mark.parametrize("factor", [1.1, 1.5, 2.0, 4.0, 10.0])
def test_wanted_is_the_rounded_up_share(factor):
    action = parse(asked(factor=factor, sources="1-10"), TELECOM)
    sizes = np.arange(11)
    assert augmenting.wanted(sizes, action).tolist() == [
        math.ceil(k * round(factor * 10 - 10) / 10) for k in sizes
    ]


def test_nothing_to_draw_from_adds_nothing():
    users = pl.DataFrame({"user_id": ["u1", "u2"]})
    tables = make_tables(TELECOM, users=users)
    derived, steps = optimize(tables, [asked()], 1, now=NOW)
    assert derived.events.is_empty()
    assert steps[-1].before == steps[-1].after


def test_held_out_pairs_and_late_events_never_get_into_what_is_learned(raw):
    """Whatever the added events are: here they are the held-out part itself, early and late."""
    graph = build_graph(raw)
    split = split_graph(graph, seed=2)
    for key in graph.edges:
        held = split.test[key].join(split.validation[key])
        early = None if held.time is None else np.full(len(held), UNKNOWN_TIME)
        for time in (held.time, early):
            learned = with_added(split, {key: Edges(held.src, held.dst, time)})
            assert same(learned.edges[key], split.train.edges[key])
    if split.cuts:
        late = Edges(np.array([0]), np.array([1]), np.array([split.cuts[0]]))
        for key in graph.edges:
            assert same(with_added(split, {key: late}).edges[key], split.train.edges[key])


def test_the_times_of_added_events_go_where_the_graph_keeps_none(population):
    split = split_graph(build_graph(population, keep_timestamps=False))
    new = Edges(np.array([0]), np.array([0]), np.array([5]))
    key = KEY
    free = replace(split, validation={**split.validation, key: _none()}, test=_empty(split))
    learned = with_added(free, {key: new})
    assert learned.edges[key].time is None
    assert len(learned.edges[key]) == len(split.train.edges[key]) + 1

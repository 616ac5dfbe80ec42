from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from drawn import START, drawn_tables, events_frame

from ml.contracts.schema import TELECOM
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.evaluation.report import link_report
from ml.graph.graph import build_graph
from ml.graph.messages import build_messages, pair_tensors
from ml.graph.splits import AT_RANDOM, split_graph
from ml.hgt.decoder import Decoder, LinkWeights, fit_decoder
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.heldout import evaluate_links
from ml.hgt.model import build_model, embed, graph_inputs
from ml.hgt.training.train import Stopped, TrainingConfig, train

CONFIG = TrainingConfig(epochs=4, fanout=8, batch_size=512)
SMALL = SynthesisConfig(users=400, events=16_000, products=40, apps=20, communities=4)
SEEDS = 24


@pytest.fixture(scope="module")
def split(population):
    return split_graph(build_graph(population))


@pytest.fixture(scope="module")
def trained(split):
    checkpoints = []
    result = train(split.train, CONFIG, save_checkpoint=checkpoints.append)
    return result, checkpoints


@pytest.fixture(scope="module")
def report(trained, split):
    return evaluate_links(trained[0], split).report.to_dict()


def weights(trained):
    return {name: value.numpy() for name, value in trained.model.state_dict().items()}


def test_the_same_seed_gives_identical_losses_weights_and_metrics(trained, split, report):
    again = train(split.train, CONFIG)
    assert again.history == trained[0].history
    first, second = weights(trained[0]), weights(again)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert evaluate_links(again, split).report.to_dict() == report


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_a_run_that_was_stopped_again_and_again_ends_as_one_that_was_not(trained, split, every):
    """Stopped after so many steps each time, also in the middle of an epoch; no step is lost."""
    kept, stops, resumed = [None], 0, None
    while resumed is None:
        steps = iter(range(100))
        try:
            resumed = train(
                split.train, CONFIG, checkpoint=kept[-1], save_checkpoint=kept.append,
                should_stop=lambda steps=steps: next(steps) >= every,
            )  # fmt: skip
        except Stopped:
            stops += 1
    total = CONFIG.epochs * CONFIG.folds
    assert stops == (total - 1) // every
    assert resumed.history == trained[0].history
    first, second = weights(trained[0]), weights(resumed)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert resumed.temperatures == trained[0].temperatures


def test_a_checkpoint_of_another_run_is_refused(trained, split):
    with pytest.raises(ValueError, match="start without it"):
        train(split.train, replace(CONFIG, seed=9), checkpoint=trained[1][-1])


def test_progress_tells_every_epoch_and_every_edge_type(trained):
    history = trained[0].history
    assert [progress.epoch for progress in history] == [1, 2, 3, 4]
    assert history[-1].share == 1.0
    assert set(history[0].losses_by_edge_type) == {edge.name for edge in TELECOM.edges}
    assert history[-1].loss < history[0].loss


def test_the_model_beats_popularity_and_repeat_edges_where_structure_is_planted(report):
    for name, row in report["edge_types"].items():
        assert row["split"] == "time 70/15/15"
        assert row["model"]["mrr"] > 1.2 * row["popularity"]["mrr"], name
        assert row["model"]["mrr"] > 1.2 * row["repeat"]["mrr"], name
        assert row["model"]["auc"] > row["popularity"]["auc"] + 0.1, name


def test_without_planted_structure_new_links_are_at_chance(flat_population):
    flat = split_graph(build_graph(flat_population))
    report = evaluate_links(train(flat.train, CONFIG), flat).report.to_dict()
    for name, row in report["edge_types"].items():
        assert abs(row["model"]["auc"] - 0.5) < 0.06, name


def scatter(model, generator):
    with torch.no_grad():
        for weight in model.parameters():
            spread = weight.shape[-1] ** -0.5
            weight.copy_(spread * torch.randn(weight.shape, generator=generator))


def untrained_auc(seed, *, structure, scattered):
    """By edge type, of the network as training finds it, or with all of its weights random."""
    split = split_graph(build_graph(synthesize(replace(SMALL, structure=structure, seed=seed))))
    graph = split.train
    encoder = FeatureEncoder.fit(TELECOM, graph.features, graph.node_ids)
    model = build_model(encoder, CONFIG.model, seed=seed)
    if scattered:
        scatter(model, torch.Generator().manual_seed(seed))
    messages = build_messages(TELECOM, graph.num_nodes, pair_tensors(graph, "cpu"))
    with torch.no_grad():
        for name, out in model.outputs(graph_inputs(encoder, graph), messages).items():
            model.shift[name].copy_(-out.mean(0))
    similarity = Decoder({edge.name: LinkWeights(1.0) for edge in TELECOM.edges})
    z_dict = embed(model, encoder, split.observed)
    scorers = {edge.key: similarity.scorer(edge, split.observed, z_dict) for edge in TELECOM.edges}
    rows = link_report(split, scorers).to_dict()["edge_types"]
    return {name: row["model"]["auc"] for name, row in rows.items()}


def mean_auc(*, structure, scattered=False):
    """Over populations and models: one population has some hundred pairs a type, +-.04."""
    found = [untrained_auc(s, structure=structure, scattered=scattered) for s in range(SEEDS)]
    return {name: np.mean([auc[name] for auc in found]) for name in found[0]}


def test_without_structure_the_real_start_ranks_at_chance():
    """The start knows nothing by itself: no edge type is ranked better than by chance, or worse."""
    for name, auc in mean_auc(structure=False).items():
        assert abs(auc - 0.5) < 0.02, name


def test_with_structure_the_real_start_ranks_above_chance_before_it_is_trained():
    """It is collaborative by design: values pass unchanged and neighbours are averaged."""
    for name, auc in mean_auc(structure=True).items():
        assert 0.515 < auc < 0.7, name


def test_with_structure_and_all_weights_random_links_between_types_are_at_chance():
    """What is collaborative is the start and not the way of measuring. Within a type the maps of
    both ends are the same, and such maps keep alike what is alike, also at random."""
    found = mean_auc(structure=True, scattered=True)
    assert 0.5 < found.pop("user-calls-user") < 0.6
    for name, auc in found.items():
        assert abs(auc - 0.5) < 0.03, name


def test_a_planted_future_edge_changes_no_earlier_embedding(population, trained):
    graph = build_graph(population)
    cut = split_graph(graph).cuts
    users, products = graph.node_ids["user"], graph.node_ids["product"]
    future = events_frame([("order", users[0], products[0], "product", 9999)])
    assert future["timestamp"][0] > START
    planted = split_graph(graph.append(future))
    assert planted.cuts == cut
    model = trained[0]
    before = embed(model.model, model.encoder, split_graph(graph).observed)
    after = embed(model.model, model.encoder, planted.observed)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("how", [{}, {"temporal": True, "edge_ages": (7.0, 30.0)}])
@pytest.mark.parametrize("product", ["of the table", "of the future"])
def test_a_planted_future_edge_changes_nothing_that_is_learned(population, product, how):
    """Nor does one to a node that nothing was known of before."""
    graph = build_graph(population)
    users, products = graph.node_ids["user"], graph.node_ids["product"]
    target = products[0] if product == "of the table" else product
    future = events_frame([("order", users[0], target, "product", 9999)])
    before, planted = split_graph(graph), split_graph(graph.append(future))
    assert planted.cuts == before.cuts
    config = replace(CONFIG, epochs=2, **how)
    without, having = train(before.train, config), train(planted.train, config)
    assert "of the future" not in having.encoder.ids["product"]
    for name, z in embed(without.model, without.encoder, before.train).items():
        seen = embed(having.model, having.encoder, planted.train)[name][: len(z)]
        assert np.allclose(z, seen, atol=1e-6), name
    weights = [fit_decoder(s, embed(t.model, t.encoder, s.train), t.temperatures).weights
               for t, s in ((without, before), (having, planted))]  # fmt: skip
    for name, row in weights[0].items():
        assert np.allclose(astuple(row), astuple(weights[1][name]), rtol=1e-2, atol=1e-3), name


def test_untimed_data_is_split_at_random_and_says_so(population):
    untimed = split_graph(build_graph(population, keep_timestamps=False))
    report = evaluate_links(
        train(untimed.train, replace(CONFIG, epochs=1)), untimed
    ).report.to_dict()
    for row in report["edge_types"].values():
        assert row["split"] == AT_RANDOM
        assert row["slices"]["repeat"]["evaluated"] == 0


def test_an_edge_type_without_a_choice_contributes_nothing_and_says_so(tables):
    one_app = [("use", user, "a1", "app", day) for day, user in enumerate(("ann", "bob", "cat"))]
    rows = [("order", "ann", "p1", "product", 1), ("order", "bob", "p2", "product", 2), *one_app]
    small = drawn_tables(rows)
    small.apps = small.apps.head(1)
    trained = train(build_graph(small), TrainingConfig(epochs=2))
    losses = trained.history[-1].losses_by_edge_type
    assert losses["user-uses-app"] is None
    assert losses["user-calls-user"] is None
    assert np.isfinite(trained.history[-1].loss)


def test_a_graph_without_any_edge_trains_to_nothing():
    trained = train(build_graph(drawn_tables([])), TrainingConfig(epochs=1))
    assert trained.history[-1].loss == 0.0


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"temperature": 2.0},
        {"learning_rate": 0.0},
        {"folds": 1},
        {"edge_ages": (1.0,)},
        {"temporal": True, "edge_ages": (7.0, 7.0)},
        {"temporal": True, "edge_ages": (0.0,)},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        TrainingConfig(**bad)

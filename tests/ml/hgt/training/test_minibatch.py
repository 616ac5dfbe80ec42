"""A batch embeds its seeds as the whole graph does, however little of it is read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import aging
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.compute.hashing import key_of
from ml.graph.graph import build_graph
from ml.graph.sampler import ALL, Sampler, View
from ml.graph.structure import Links
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.training.batches import BatchPlan
from ml.hgt.training.loop import train_on
from ml.hgt.training.minibatch import KnownPairs, seed_outputs
from ml.hgt.training.train import TrainingConfig, train
from ml.hgt.training.training_data import TrainingData

VIEW = View(sampling_key=key_of(1), folding_key=key_of(2), folds=3, part=1)


@pytest.fixture(scope="module")
def graph(population):
    return build_graph(population)


@pytest.fixture(scope="module")
def data(graph):
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    return TrainingData.of(graph, encoder, timed=True)


def outputs(model, data, sample):
    inputs = {
        name: data.tables[name].take(nodes, key=np.uint64(0))
        for name, nodes in sample.nodes.items()
    }
    with torch.no_grad():
        return {
            name: model.finish(name, out)
            for name, out in seed_outputs(model, inputs, sample).items()
        }


SEEDS = {"user": np.array([3, 77, 250]), "product": np.array([0, 39]), "app": np.array([], int)}


@pytest.mark.parametrize("edge_ages", [(), (10.0, 60.0)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_with_all_edges_the_seeds_have_the_embeddings_of_the_full_pass(
    graph, data, layers, edge_ages
):
    config = ModelConfig(layers=layers, edge_ages=edge_ages)
    model = aging(build_model(data.encoder, config, seed=1))
    full = embed(model, data.encoder, graph)
    sampler = Sampler(data.structure, [ALL] * layers, edge_ages=edge_ages)
    sample = sampler.sample(SEEDS, View())
    for name, z in outputs(model, data, sample).items():
        np.testing.assert_allclose(z.numpy(), full[name][SEEDS[name]], atol=1e-5)


@pytest.mark.parametrize("fanouts", [(4, 4), (2, 6)])
def test_with_a_cap_they_have_those_of_the_whole_sampled_graph(data, fanouts):
    model = build_model(data.encoder, ModelConfig(), seed=1)
    sampler = Sampler(data.structure, fanouts)
    whole = outputs(model, data, sampler.sample(sampler.everything(), VIEW))
    sample = sampler.sample(SEEDS, VIEW)
    assert sample.num_edges < sampler.sample(sampler.everything(), VIEW).num_edges
    for name, z in outputs(model, data, sample).items():
        np.testing.assert_allclose(z.numpy(), whole[name][SEEDS[name]].numpy(), atol=1e-5)


def test_learning_from_mapped_files_is_learning_from_memory(graph, data, tmp_path):
    config = TrainingConfig(epochs=2, fanout=4, batch_size=200)
    data.save(tmp_path)
    mapped = TrainingData.open(tmp_path)
    assert mapped.structure.links["user", "calls", "user"].by_source.other.base is not None
    assert train_on(mapped, config).history == train(graph, config).history


def test_an_epoch_has_every_pair_of_the_largest_type_once_and_seeds_for_all(data):
    plan = BatchPlan(data.structure, seed=3, folds=3, size=150)
    sampler = Sampler(data.structure, [3, 3])
    key = max(data.structure.links, key=lambda k: data.structure.links[k].num_pairs)
    seen = []
    for step in range(plan.steps):
        batch = plan.batch(sampler, 1, step)
        for (source, _, target), pairs in batch.pairs.items():
            assert set(pairs[0].tolist()) <= set(batch.seeds[source].tolist())
            assert set(pairs[1].tolist()) <= set(batch.seeds[target].tolist())
        seen += list(zip(*batch.pairs[key].tolist(), strict=True))
    assert len(seen) == len(set(seen)) == data.structure.links[key].num_pairs


def test_in_time_a_batch_is_later_than_all_that_carries_messages(data):
    plan = BatchPlan(data.structure, seed=3, folds=3, size=150, temporal=True)
    sampler = Sampler(data.structure, [ALL])
    supervised = 0
    for step in range(plan.steps):
        batch = plan.batch(sampler, 1, step)
        for key, pairs in batch.pairs.items():
            side = data.structure.links[key].early_by_source
            for u, v in pairs.T.tolist():
                row = slice(side.start[u], side.start[u + 1])
                time = side.time[row][side.other[row] == v]
                assert (time >= batch.view.before).all()
                supervised += 1
    assert supervised > 0
    config = TrainingConfig(epochs=2, fanout=4, batch_size=300, temporal=True)
    history = train_on(data, config).history
    assert history[1].loss < history[0].loss


def test_an_epoch_may_be_a_part_of_the_pairs(data):
    short = replace(TrainingConfig(epochs=1, batch_size=50), max_steps=2)
    plan = BatchPlan(data.structure, seed=0, folds=3, size=50, max_steps=short.max_steps)
    assert plan.steps == 2
    assert np.isfinite(train_on(data, short).history[0].loss)


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 40)), min_size=1, max_size=120),
    nodes=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    others=st.sets(st.integers(0, 40), min_size=1, max_size=41),
)
def test_known_pairs_are_those_of_the_graph(pairs, nodes, others):
    array = np.array(sorted(pairs))
    side = Links.of(array[:, 0], array[:, 1], 9, 41).by_source
    seeds, found = np.unique(nodes), np.array(sorted(others))
    known = KnownPairs(side, seeds, found)
    asked = np.searchsorted(seeds, nodes)
    mask = known.mask(torch.from_numpy(asked), torch.arange(len(found)))
    assert mask.tolist() == [[(u, v) in pairs for v in found.tolist()] for u in nodes]


def test_what_is_forgotten_depends_on_the_node_and_the_step_alone(data):
    table = data.tables["user"]
    everybody = table.take(np.arange(len(table)), unknown=0.3, key=key_of(5))
    some = table.take(np.array([9, 4]), unknown=0.3, key=key_of(5))
    assert some.categorical.tolist() == everybody.categorical[[9, 4]].tolist()
    assert some.slot.tolist() == everybody.slot[[9, 4]].tolist()
    assert 0.2 < float((everybody.slot == 0).float().mean()) < 0.4
    other = table.take(np.arange(len(table)), unknown=0.3, key=key_of(6))
    assert other.slot.tolist() != everybody.slot.tolist()

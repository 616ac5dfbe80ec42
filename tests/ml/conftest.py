"""Tables, and one small population with trained models, that the tests of the models share."""

from types import SimpleNamespace

import pytest
from drawn import ROWS, drawn_tables

from ml.data.synthesis import SynthesisConfig, synthesize
from ml.fusion.evidence import gather_evidence, profile_frame
from ml.fusion.fitting import fit_profile
from ml.fusion.fusion import FusionConfig
from ml.graph.graph import build_graph
from ml.graph.splits import split_graph
from ml.hgt.heldout import evaluate_links
from ml.hgt.model import embed
from ml.hgt.training.train import TrainingConfig, train
from ml.rules.rule_set import RuleSet, default_rules


@pytest.fixture
def tables():
    return drawn_tables(ROWS)


@pytest.fixture(scope="session")
def population():
    return synthesize(
        SynthesisConfig(users=400, events=16_000, products=40, apps=20, communities=4)
    )


@pytest.fixture(scope="session")
def flat_population():
    config = SynthesisConfig(
        users=400, events=16_000, products=40, apps=20, communities=4, structure=False
    )
    return synthesize(config)


@pytest.fixture(scope="session")
def fitted(population):
    graph = build_graph(population)
    split = split_graph(graph)
    config = TrainingConfig(epochs=3)
    trained = train(split.train, config)
    links = evaluate_links(trained, split)
    embeddings = embed(trained.model, trained.encoder, graph)
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    profile = fit_profile(
        graph,
        rules,
        lambda g: embed(trained.model, trained.encoder, g)["user"],
        FusionConfig(epochs=20),
        cut=split.cuts[1],
    )
    frame = profile_frame(graph)
    evidence = gather_evidence(rules, profile.model.encoder, frame, embeddings["user"])
    return SimpleNamespace(
        graph=graph, split=split, config=config, trained=trained, links=links, rules=rules,
        embeddings=embeddings, profile=profile, frame=frame, evidence=evidence,
    )  # fmt: skip

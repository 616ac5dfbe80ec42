"""What explanations are made in: a graph, a network, a fusion, and users to compare with."""

from types import SimpleNamespace

import torch

from ml.contracts.schema import USER
from ml.explanation.neighbourhood import NeighbourhoodIndex
from ml.fusion.background import draw_background
from ml.fusion.evidence import AttributeEncoder, gather_evidence, profile_frame
from ml.fusion.fusion import Fusion, Widths
from ml.fusion.scoring import ProfileModel
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.row_embedding import full_states


def world_of(graph, rules, *, background, edge_ages=()):
    """A graph with an untrained network and a fusion of random weights."""
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    network = build_model(encoder, ModelConfig(edge_ages=edge_ages), seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    embeddings = embed(network, encoder, graph)
    frame = profile_frame(graph)
    attributes = AttributeEncoder.fit(graph.schema, frame)
    evidence = gather_evidence(rules, attributes, frame, embeddings[USER])
    fusion = Fusion(Widths.of(evidence), 8)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return SimpleNamespace(
        graph=graph, encoder=encoder, network=network, embeddings=embeddings, frame=frame,
        evidence=evidence, model=ProfileModel(graph.schema, rules.rules, attributes, fusion),
        states=full_states(network, encoder, graph), rules=rules,
        index=NeighbourhoodIndex(graph, network.ages(graph.latest())),
        background=draw_background(evidence, graph.node_ids[USER], size=background, seed=0),
    )  # fmt: skip

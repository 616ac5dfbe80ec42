import numpy as np
import pytest
from drawn import aging

from ml.graph.graph import build_graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.inference import embed_in_parts
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.training.training_data import TrainingData


@pytest.mark.parametrize("edge_ages", [(), (10.0, 60.0)])
@pytest.mark.parametrize("rows", [7, 150, 10_000])
def test_parts_on_disk_have_the_embeddings_of_the_full_pass(population, tmp_path, rows, edge_ages):
    graph = build_graph(population)
    encoder = FeatureEncoder.of_graph(graph)
    model = aging(build_model(encoder, ModelConfig(edge_ages=edge_ages), seed=2))
    TrainingData.of(graph, encoder, timed=bool(edge_ages)).save(tmp_path)
    full = embed(model, encoder, graph)
    parts = embed_in_parts(model, TrainingData.open(tmp_path), tmp_path, rows=rows)
    for name, z in full.items():
        assert isinstance(parts[name], np.memmap)
        np.testing.assert_allclose(parts[name], z, atol=1e-5)

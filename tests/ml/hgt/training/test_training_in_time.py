"""Training in the order of time with ages of edges, where interests move."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.temporal import measure, moving_interests
from ml.hgt.training.train import Stopped, TrainingConfig, train

IN_TIME = TrainingConfig(epochs=15, batch_size=300, temporal=True)
AGEING = replace(IN_TIME, edge_ages=(7.0, 30.0, 60.0, 120.0))


def new_links(config):
    """Mean reciprocal rank of held-out apps that the user has not used before."""
    found = [
        measure(moving_interests(seed, users=300), replace(config, seed=seed)) for seed in range(2)
    ]
    return np.mean([row["mrr new"] for row in found])


def test_ages_tell_what_a_user_is_interested_in_now():
    """Old edges and new ones differ in nothing else, so the same network can't tell without."""
    assert new_links(AGEING) > 1.3 * new_links(IN_TIME)


def test_a_run_with_ages_goes_on_from_its_checkpoint():
    graph, config = moving_interests(0, users=200), replace(AGEING, epochs=2)
    whole, kept = train(graph, config), []
    with pytest.raises(Stopped):
        train(graph, config, save_checkpoint=kept.append, should_stop=lambda: bool(kept))
    resumed = train(graph, config, checkpoint=kept[-1])
    assert resumed.history == whole.history
    for name, weight in whole.model.state_dict().items():
        assert np.array_equal(resumed.model.state_dict()[name], weight), name
    with pytest.raises(ValueError, match="start without it"):
        train(graph, replace(config, edge_ages=(7.0,)), checkpoint=kept[-1])

"""A task that learns in time, from its parameter to the loop and the explanation."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from incremental_fixtures import (
    check_against_a_full_pass,
    is_fresh,
    refresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.profiles import explanations
from controlcenter.profiles.explanations import Question
from controlcenter.profiles.models import Explanation, Profile
from controlcenter.registry.services import active_version
from workers.explaining import explained, model_of, world_of

pytestmark = pytest.mark.django_db(transaction=True)


def over_two_years(events):
    """The same events on other days: some before the dataset's, some between, some after."""
    moments = (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=11 * n) for n in range(70))
    return [
        event | {"timestamp": moment.isoformat()}
        for event, moment in zip(events, moments, strict=False)
    ]


def test_ages_count_in_the_refresh_the_loop_and_the_explanation(scored, anna, as_anna, tmp_path):
    refresh(as_anna, temporal=True, epochs=3)
    version = active_version(scored.pk)
    model, world = model_of(version.pk), world_of(version.pk)
    assert model.model.config.edge_ages
    with running(scored, anna):
        send(scored, *over_two_years(some_events(scored, 60, 5)))
        wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)

    profile = Profile.objects.get(workspace=scored, user_id="u00001")
    around = world.index.of(profile.user_id)
    classes = model.model.ages(around.now).classes(np.concatenate(list(around.since.values())))
    assert len(np.unique(classes)) > 1, "the user's edges are of one age: they tell nothing"
    asked = explanations.request(profile, Question())
    found = explained(Explanation.objects.get(pk=asked.pk))
    assert found.error == ""
    total = sum(row["contribution"] for row in found.result["contributions"])
    assert found.result["score"] - found.result["base"] == pytest.approx(total, abs=1e-6)

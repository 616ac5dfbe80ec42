"""Tables that the tests of the models share."""

import pytest
from drawn import ROWS, drawn_tables

from ml.data.synthesis import SynthesisConfig, synthesize


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

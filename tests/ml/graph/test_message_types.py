"""Message types: both ways, every age, and the names that state dicts have for them."""

import pytest

from ml.contracts.schema import TELECOM
from ml.graph.message_types import (
    UNKNOWN_AGE,
    MessageSender,
    MessageType,
    all_ages,
    message_types,
    of_any_age,
)

USES = MessageType("user", "uses", "app")


def test_every_edge_type_has_its_reverse_and_edges_come_first():
    types = message_types(TELECOM)
    assert [message.edge_key for message in types[:5]] == [edge.key for edge in TELECOM.edges]
    assert types[5:] == [message.reversed for message in types[:5]]
    assert len(set(types)) == 10  # calls and their reverse are two


@pytest.mark.parametrize("age", [UNKNOWN_AGE, 0, 12])
def test_the_reverse_swaps_the_ends_and_is_of_the_same_edges_and_age(age):
    message = USES.of_age(age)
    back = message.reversed
    assert (back.source, back.target, back.reverse, back.age) == ("app", "user", True, age)
    assert back.edge_key == message.edge_key == ("user", "uses", "app")
    assert back.reversed == message
    assert back.ageless == USES.reversed
    assert (message.sender, back.sender) == (MessageSender("user", age), MessageSender("app", age))


def test_state_dicts_name_the_direction_and_no_age():
    assert USES.of_age(2).key == ("user", "uses", "app")
    assert USES.of_age(2).reversed.key == ("app", "rev_uses", "user")


def test_a_type_is_found_in_all_of_its_ages():
    assert all_ages(USES, 2) == [USES, USES.of_age(0), USES.of_age(1)]
    by_type = {USES: 1, USES.of_age(3): 2, USES.reversed: 4, MessageType("user", "uses", "tv"): 8}
    assert of_any_age(by_type, USES) == [1, 2]


def test_an_error_can_say_which_it_is():
    assert str(USES) == "user-uses-app"
    assert str(USES.of_age(2).reversed) == "app-rev_uses-user of age 2"

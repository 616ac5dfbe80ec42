"""What the control center may use of ml, what that loads, and that rooms say what is in them."""

import subprocess
import sys
from importlib import import_module

import grimp
import pytest

ALLOWED = ("ml.contracts", "ml.rules")
"""Rooms of ml that the control center may import; any other, new ones too, is forbidden."""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("ml", "controlcenter")


def inside(module, rooms):
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def test_the_control_center_reaches_contracts_and_rules_alone(graph):
    """Directly, and through what it imports."""
    own = {module for module in graph.modules if inside(module, ["controlcenter"])}
    reached = set().union(*(graph.find_upstream_modules(module) for module in own)) - own
    assert reached, "the control center imports nothing of ml: is the graph whole?"
    assert {module for module in reached if not inside(module, ALLOWED) and module != "ml"} == set()


def test_the_docstring_of_a_room_names_each_of_its_files(graph):
    rooms = [room for room in graph.find_descendants("ml") if graph.find_children(room)]
    assert len(rooms) > 10
    for room in rooms:
        said = import_module(room).__doc__ or ""
        files = {child.rpartition(".")[2] for child in graph.find_children(room)}
        assert {name for name in files if f"``{name}``" not in said} == set(), room


@pytest.mark.parametrize("room", ALLOWED)
def test_what_the_control_center_uses_of_ml_loads_no_torch(graph, room):
    modules = sorted(graph.find_descendants(room) | {room})
    assert len(modules) > 3
    loads = "".join(f"import {module}\n" for module in modules)
    asks = "import sys\nprint(*(m for m in ('torch', 'numba', 'sklearn') if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", loads + asks], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []

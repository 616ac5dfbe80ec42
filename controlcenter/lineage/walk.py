"""Everything that something was made from, and everything that was made from it."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from controlcenter.lineage.children import children
from controlcenter.lineage.parents import parents
from controlcenter.lineage.refs import Edge, Ref

LIMIT = 200
"""Things in one answer."""

STEPS = 30
"""How far from what was asked for."""

SHARE = 5
"""A step takes at most this part of the room: a dataset that many tasks used still shows what
became of the newest of them."""

Step = Callable[[list[Ref]], tuple[list[Ref], bool]]


@dataclass(frozen=True)
class LineagePart:
    """A part of the lineage.

    Args:
        starts: What it is around.
        refs: All of its things, in the order they were found: the nearest first.
        edges: Between those.
        truncated: Whether there is more than it shows.
    """

    starts: list[Ref]
    refs: list[Ref] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    truncated: bool = False


def surroundings(
    workspace_id: uuid.UUID,
    requested: Iterable[Ref],
    inputs: Iterable[Ref] = (),
    limit: int = LIMIT,
) -> LineagePart:
    """The lineage around some things, upstream and downstream.

    What else was made from their ancestors is left out, as are other ancestors of what was made
    from them.

    Args:
        inputs: Things whose ancestors belong to the answer, but not what was made from them.
        limit: Things in the answer; half of them at most are upstream.
    """

    def up(refs: list[Ref]) -> tuple[list[Ref], bool]:
        return [edge.source for edge in parents(workspace_id, refs)], False

    def down(refs: list[Ref]) -> tuple[list[Ref], bool]:
        return children(workspace_id, refs, limit)

    starts = list(dict.fromkeys(requested))
    above, more_above = reach([*starts, *inputs], up, max(limit // 2, 1))
    below, more_below = reach(starts, down, max(limit - len(above) + len(starts), 1))
    refs = list(dict.fromkeys([*above, *below]))
    nodes = set(refs)
    edges = {edge for edge in parents(workspace_id, refs) if edge.source in nodes}
    return LineagePart(starts, refs, sorted(edges), more_above or more_below)


def reach(starts: Iterable[Ref], step: Step, limit: int) -> tuple[list[Ref], bool]:
    """What can be reached, breadth first, and whether something was left out."""
    reached = list(dict.fromkeys(starts))
    cut = len(reached) > limit
    reached = reached[:limit]
    visited, front = set(reached), reached
    for _ in range(STEPS):
        if not front:
            return reached, cut
        following, more = step(front)
        front = [neighbour for neighbour in dict.fromkeys(following) if neighbour not in visited]
        room = min(limit - len(reached), max(limit // SHARE, 1))
        cut |= more or len(front) > room
        front = front[:room]
        visited |= set(front)
        reached = reached + front
    return reached, cut or bool(front)

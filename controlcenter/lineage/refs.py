"""Names of what is made and of what it was made from."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

DATASET, GRAPH, VERSION = "dataset", "graph", "version"
EVALUATION, PROFILES, PROFILE = "evaluation", "profiles", "profile"


@dataclass(frozen=True, order=True)
class Ref:
    """Something that was made.

    Args:
        kind: dataset, graph, version, evaluation, profiles (all of a version) or profile (one).
        id: Of its row: a graph's is the run that built it, the profiles' their version, a
            profile's the user.
    """

    kind: str
    id: str

    @property
    def key(self) -> str:
        """Unique among all kinds."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, order=True)
class Edge:
    """``target`` was made from ``source``; ``how`` is a verb in the past: built, trained."""

    source: Ref
    target: Ref
    how: str


def ref(kind: str, pk: object) -> Ref:
    """A ref by a row's primary key."""
    return Ref(kind, str(pk))


def by_kind(refs: Iterable[Ref]) -> dict[str, list[str]]:
    """Their ids by kind; a kind that is not there has none."""
    ids: dict[str, list[str]] = defaultdict(list)
    for reference in refs:
        ids[reference.kind].append(reference.id)
    return ids

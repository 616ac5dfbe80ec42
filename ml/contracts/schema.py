"""The feature contract: node types, their features, edge types, the label.

This is the only place where a field is named. A schema is a value: it is hashed by its content,
travels with every dataset and model version, and a model refuses data of another schema.
Knows no torch, so that the control center can use it too.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FeatureKind = Literal["numeric", "categorical"]
EdgeKey = tuple[str, str, str]

USER = "user"


@dataclass(frozen=True)
class Feature:
    """One column of a node type.

    Args:
        name: Name used by encoders, rules and profiles.
        kind: ``numeric`` (a float) or ``categorical`` (a string).
    """

    name: str
    kind: FeatureKind


@dataclass(frozen=True)
class NodeType:
    """A kind of node, for example ``user``. Its table is called ``users`` and has ``user_id``."""

    name: str
    features: tuple[Feature, ...] = ()

    @property
    def table(self) -> str:
        return f"{self.name}s"

    @property
    def id_column(self) -> str:
        return f"{self.name}_id"

    def names(self, kind: FeatureKind) -> tuple[str, ...]:
        """Names of the features of one kind, in the schema's order."""
        return tuple(feature.name for feature in self.features if feature.kind == kind)


@dataclass(frozen=True)
class EdgeType:
    """A relation between two node types, made by one type of event.

    Args:
        event: Type in the event envelope, for example ``call``.
    """

    source: str
    relation: str
    target: str
    event: str

    @property
    def key(self) -> EdgeKey:
        return (self.source, self.relation, self.target)

    @property
    def name(self) -> str:
        return "-".join(self.key)


@dataclass(frozen=True)
class GraphSchema:
    """Node types, edge types and the optional binary label of users.

    Args:
        label: Name of the 0/1 label column of the users table, or None.

    Raises:
        ValueError: if an edge names a node type that is not there, or a name occurs twice.
    """

    nodes: tuple[NodeType, ...]
    edges: tuple[EdgeType, ...]
    label: str | None = None

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        if USER not in names:
            raise ValueError(f"a schema needs the node type 'user', got {names}")
        for node in self.nodes:
            fields = [feature.name for feature in node.features]
            if len(set(fields)) != len(fields):
                raise ValueError(f"node type {node.name!r} names a feature twice: {fields}")
        if len(set(names)) != len(names):
            raise ValueError(f"a node type is named twice: {names}")
        if marked := [n for n in (*names, *(edge.relation for edge in self.edges)) if "@" in n]:
            raise ValueError(f"{marked} have an '@', expected none: it marks ages of edges")
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in names:
                    raise ValueError(f"edge {edge.name!r} names {end!r}, expected one of {names}")
        triples = [(edge.source, edge.event, edge.target) for edge in self.edges]
        if len(set(triples)) != len(triples):
            raise ValueError(f"two edge types are made by the same event: {triples}")

    def node(self, name: str) -> NodeType:
        """The node type called ``name``.

        Raises:
            KeyError: if there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(f"no node type {name!r}, expected one of {[n.name for n in self.nodes]}")

    @property
    def user(self) -> NodeType:
        return self.node(USER)

    @property
    def event_types(self) -> tuple[str, ...]:
        """Types of events that make edges, in the schema's order, each once."""
        return tuple(dict.fromkeys(edge.event for edge in self.edges))

    def targets(self, event: str) -> tuple[str, ...]:
        """Node types that an event of this type may point at (empty: unknown type)."""
        return tuple(edge.target for edge in self.edges if edge.event == event)

    def edge(self, event: str, target: str) -> EdgeType | None:
        """The edge type made by an event of type ``event`` at a node of type ``target``."""
        for edge in self.edges:
            if edge.event == event and edge.target == target:
                return edge
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready; ``from_dict`` reads it back."""
        return {
            "nodes": [
                {"name": n.name, "features": [{"name": f.name, "kind": f.kind} for f in n.features]}
                for n in self.nodes
            ],
            "edges": [
                {"source": e.source, "relation": e.relation, "target": e.target, "event": e.event}
                for e in self.edges
            ],
            "label": self.label,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GraphSchema":
        """Raises: KeyError or ValueError on data that ``to_dict`` did not make."""
        return cls(
            nodes=tuple(
                NodeType(n["name"], tuple(Feature(f["name"], f["kind"]) for f in n["features"]))
                for n in data["nodes"]
            ),
            edges=tuple(
                EdgeType(e["source"], e["relation"], e["target"], e["event"]) for e in data["edges"]
            ),
            label=data.get("label"),
        )

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, in hex: two schemas with equal content are equal."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


EDGES = (
    EdgeType("user", "calls", "user", "call"),
    EdgeType("user", "orders", "product", "order"),
    EdgeType("user", "clicks", "product", "click"),
    EdgeType("user", "uses", "app", "use"),
    EdgeType("user", "clicks", "app", "click"),
)
"""The five relations of the telecom domain; a mapping keeps those its tables can make."""

TELECOM = GraphSchema(
    nodes=(
        NodeType(
            "user",
            (
                Feature("monthly_fee", "numeric"),
                Feature("tenure_months", "numeric"),
                Feature("plan", "categorical"),
                Feature("level", "categorical"),
                Feature("device_brand", "categorical"),
            ),
        ),
        NodeType("product", (Feature("price", "numeric"), Feature("name", "categorical"))),
        NodeType("app", (Feature("name", "categorical"),)),
    ),
    edges=EDGES,
    label="churn",
)
"""The default schema. The label is optional in the data: a null label trains on behaviour."""

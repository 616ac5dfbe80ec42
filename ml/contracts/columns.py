"""What the columns of an upload mean, as values. Pure Python, no frames; `mapping` parses them.

Three formats, as JSON or YAML:

- ``wide``: one table, a row a user; product columns become user-orders-product edges without time.
- ``narrow``: tables users, products, apps (each optional) and one or more tables of events.
- ``standard`` (no mapping given): files users, products, apps, events with the columns of TELECOM.

The graph schema follows from the mapping: it has only what the mapped tables can make.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ml.contracts.schema import (
    EDGES,
    TELECOM,
    EdgeType,
    Feature,
    FeatureKind,
    GraphSchema,
    NodeType,
)

Format = Literal["wide", "narrow", "standard"]
TABLES = ("users", "products", "apps", "events")
UNITS = ("iso", "s", "ms", "us", "ns")
ORDERED = next(edge for edge in EDGES if edge.event == "order")
"""What a product flag of a wide table means."""

RELATIONS = {edge.event: edge.relation for edge in EDGES}
TARGETS = ("user", "product", "app")
YES = ("yes", "true", "1", "y", "t")
"""What counts as positive where a mapping doesn't say (compared without case)."""


class MappingError(ValueError):
    """A mapping that can't be used. The message names the path, what was got, what was expected."""


@dataclass(frozen=True)
class Column:
    """One column of a file and what it means.

    Args:
        column: Its header in the file.
        roles: What it is used for; only ``product`` may stand beside another role.
        name: Name of the feature or label.
        product_name: Name of the product a product column stands for.
        positive: Values that mean yes (label, product), compared without case and outer blanks;
            ``yes`` equals ``true``, ``1`` equals ``1.0``. Empty: the values in ``YES``.
        negative: Values of a label that mean no; empty: every other value that is not blank.
        decimal: Sign before the decimals of a number written as text, ``.`` or ``,``.
        unit: Of a time given as a number since 1970; ``iso`` reads ISO 8601 or seconds.
        format: Of a time given as text, as in ``strptime``; None: ISO 8601.
        values: Words of a ``type`` or ``target_type`` column and what they mean here.
        optional: The file may lack it (standard format only).
    """

    column: str
    roles: tuple[str, ...]
    name: str = ""
    product_name: str = ""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    decimal: str = "."
    unit: str = "iso"
    format: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    optional: bool = False

    @property
    def kind(self) -> FeatureKind | None:
        """``numeric`` or ``categorical`` if it is a feature."""
        if "numeric" in self.roles:
            return "numeric"
        return "categorical" if "categorical" in self.roles else None

    def products(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The products this column stands for, each with the values that mean 'has it'."""
        if "product" not in self.roles:
            return
        if len(self.positive) > 1:
            for value in self.positive:
                yield f"{self.product_name}: {value}", (value,)
        else:
            yield self.product_name, self.positive or YES


@dataclass(frozen=True)
class TableMapping:
    """One file of the upload.

    Args:
        table: ``users``, ``products``, ``apps`` or ``events``.
        file: Its name, None: found by the table's name, or the only file there is.
        delimiter: Of a CSV, None: found out.
        encoding: Of a CSV, None: found out.
        type: Type of all its events, if no column gives it.
        target_type: Node type of all its events' targets, if no column gives it.
    """

    table: str
    columns: tuple[Column, ...]
    file: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    type: str | None = None
    target_type: str | None = None

    def role(self, role: str) -> Column | None:
        """The first column with this role."""
        return next((column for column in self.columns if role in column.roles), None)

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(Feature(c.name, c.kind) for c in self.columns if c.kind is not None)


@dataclass(frozen=True)
class Mapping:
    """What the files of an upload mean; made by ``mapping.parse_mapping``."""

    format: Format
    tables: tuple[TableMapping, ...]

    def named(self, table: str) -> tuple[TableMapping, ...]:
        """The mapped files of one table (several only for events)."""
        return tuple(mapped for mapped in self.tables if mapped.table == table)

    @cached_property
    def schema(self) -> GraphSchema:
        """The node types, features, edge types and label these tables can make."""
        if self.format == "standard":
            return TELECOM
        users = self.named("users")
        features = users[0].features if users else ()
        label = users[0].role("label") if users else None
        edges = self._edges()
        nodes = [NodeType("user", features)]
        for name in ("product", "app"):
            mapped = self.named(f"{name}s")
            if mapped:
                nodes.append(NodeType(name, mapped[0].features))
            elif any(edge.target == name for edge in edges):
                nodes.append(NodeType(name, (Feature("name", "categorical"),)))
        return GraphSchema(tuple(nodes), edges, label.name if label else None)

    def _edges(self) -> tuple[EdgeType, ...]:
        if self.format == "wide":
            has_products = any("product" in c.roles for c in self.tables[0].columns)
            return (ORDERED,) if has_products else ()
        edges = (edge for events in self.named("events") for edge in event_edges(events))
        return tuple(dict.fromkeys(edges))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready; ``parse_mapping`` reads it back to an equal mapping."""
        if self.format == "standard":
            return {"format": "standard"}
        if self.format == "wide":
            return {"format": "wide", **_table_dict(self.tables[0])}
        tables: dict[str, Any] = {}
        for mapped in self.tables:
            if mapped.table == "events":
                tables.setdefault("events", []).append(_table_dict(mapped))
            else:
                tables[mapped.table] = _table_dict(mapped)
        return {"format": "narrow", "tables": tables}


def event_edges(events: TableMapping) -> tuple[EdgeType, ...]:
    """The edge types that a table of events can make.

    A type or target that the mapping states (constant or by ``values``) may be any; a column
    without ``values`` brings the relations of the telecom domain.
    """
    kinds = _stated(events.type, events.role("type"))
    targets = _stated(events.target_type, events.role("target_type"))
    edges: list[EdgeType] = []
    for kind in kinds if kinds is not None else tuple(RELATIONS):
        known = tuple(edge.target for edge in EDGES if edge.event == kind)
        if targets is None:
            reach = known
        else:
            reach = targets if kinds is not None else tuple(t for t in targets if t in known)
        edges += [EdgeType("user", RELATIONS.get(kind, kind), t, kind) for t in reach]
    return tuple(dict.fromkeys(edges))


def _stated(constant: str | None, column: Column | None) -> tuple[str, ...] | None:
    if constant is not None:
        return (constant,)
    if column is not None and column.values:
        return tuple(dict.fromkeys(meaning for _, meaning in column.values))
    return None


def _table_dict(mapped: TableMapping) -> dict[str, Any]:
    options = ("file", "delimiter", "encoding", "type", "target_type")
    data = {key: getattr(mapped, key) for key in options if getattr(mapped, key) is not None}
    return {**data, "columns": {column.column: _column_dict(column) for column in mapped.columns}}


def _column_dict(column: Column) -> dict[str, Any]:
    role: str | list[str] = list(column.roles) if len(column.roles) > 1 else column.roles[0]
    data: dict[str, Any] = {"role": role}
    if column.name:
        data["name"] = column.name
    if column.product_name:
        data["product_name"] = column.product_name
    if column.positive:
        data["positive"] = list(column.positive)
    if column.negative:
        data["negative"] = list(column.negative)
    if column.decimal != ".":
        data["decimal"] = column.decimal
    if column.unit != "iso":
        data["unit"] = column.unit
    if column.format is not None:
        data["format"] = column.format
    if column.values:
        data["values"] = dict(column.values)
    return data


def standard() -> Mapping:
    """The mapping of an upload that brings none: files and columns named as in TELECOM."""
    tables = []
    for node in TELECOM.nodes:
        columns = [Column(node.id_column, ("id",))]
        columns += [Column(f.name, (f.kind,), f.name, optional=True) for f in node.features]
        if node.name == "user" and TELECOM.label:
            columns.append(Column(TELECOM.label, ("label",), TELECOM.label, optional=True))
        tables.append(TableMapping(node.table, tuple(columns)))
    events = (
        Column("event_id", ("event_id",), optional=True),
        Column("timestamp", ("time",), optional=True),
        Column("type", ("type",)),
        Column("actor", ("actor",)),
        Column("target", ("target",)),
        Column("target_type", ("target_type",), optional=True),
    )
    return Mapping("standard", (*tables, TableMapping("events", events)))

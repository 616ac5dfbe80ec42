"""The mapping of an upload: what a person or a program wrote, checked.

The formats ``wide``, ``narrow`` and ``standard`` are described in ``columns``; every error names
the path, what was got and what was expected.
"""

import codecs
import re
from typing import Any

from ml.contracts import naming
from ml.contracts.columns import (
    RELATIONS,
    TABLES,
    TARGETS,
    UNITS,
    Column,
    Mapping,
    MappingError,
    TableMapping,
    event_edges,
    standard,
)

__all__ = ["Column", "Mapping", "MappingError", "TableMapping", "parse_mapping"]

FEATURE_ROLES = ("id", "numeric", "categorical", "ignored")
ROLES = {
    "wide": (*FEATURE_ROLES, "label", "product"),
    "users": (*FEATURE_ROLES, "label"),
    "products": FEATURE_ROLES,
    "apps": FEATURE_ROLES,
    "events": ("actor", "target", "time", "event_id", "type", "target_type", "ignored"),
}
SINGLE = ("id", "label", "actor", "target", "time", "event_id", "type", "target_type")
OPTIONS = ("file", "delimiter", "encoding")
COLUMN_KEYS = {
    "numeric": ("name", "decimal"),
    "categorical": ("name",),
    "label": ("name", "positive", "negative"),
    "product": ("name", "positive", "product_name"),
    "time": ("unit", "format"),
    "type": ("values",),
    "target_type": ("values",),
}
EVENT_TYPE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def parse_mapping(data: dict[str, Any] | None) -> Mapping:
    """The mapping that ``data`` describes.

    Args:
        data: JSON-shaped; None means the standard tables of TELECOM.

    Raises:
        MappingError: on anything that can't be used.
    """
    if data is None:
        return standard()
    fields = _dict(data, "mapping")
    kind = _choice(fields.get("format"), ("wide", "narrow", "standard"), "format")
    if kind == "standard":
        _known(fields, ("format",), "mapping")
        return standard()
    if kind == "wide":
        _known(fields, ("format", "columns", *OPTIONS), "mapping")
        return Mapping("wide", (_table(fields, "wide", "", {}),))
    _known(fields, ("format", "tables", "delimiter", "encoding"), "mapping")
    return Mapping("narrow", _tables(fields))


def _tables(fields: dict[str, Any]) -> tuple[TableMapping, ...]:
    defaults: dict[str, Any] = {
        key: fields[key] for key in ("delimiter", "encoding") if key in fields
    }
    named = _dict(fields.get("tables"), "tables")
    _known(named, TABLES, "tables")
    if "events" not in named:
        raise MappingError("tables.events: got nothing, expected a table of events or a list")
    tables = [
        _table(_dict(named[name], f"tables.{name}"), name, f"tables.{name}.", defaults)
        for name in TABLES[:3]
        if name in named
    ]
    events = named["events"] if isinstance(named["events"], list) else [named["events"]]
    if not events:
        raise MappingError("tables.events: got an empty list, expected at least one table")
    for index, table in enumerate(events):
        path = f"tables.events[{index}]"
        tables.append(_table(_dict(table, path), "events", f"{path}.", defaults))
    files = [table.file for table in tables if table.file is not None]
    if len({file.lower() for file in files}) != len(files):
        raise MappingError(f"tables: got one file twice in {files}, expected a file a table")
    return tuple(tables)


def _table(fields: dict[str, Any], table: str, path: str, defaults: dict[str, Any]) -> TableMapping:
    if table != "wide":
        extra = ("type", "target_type") if table == "events" else ()
        _known(fields, ("columns", *OPTIONS, *extra), path.rstrip("."))
    columns = tuple(
        _column(header, spec, table, f"{path}columns.{header}")
        for header, spec in _dict(fields.get("columns"), f"{path}columns").items()
    )
    _check_roles(columns, table, path)
    mapped = TableMapping(
        table="users" if table == "wide" else table,
        columns=columns,
        file=_text(fields["file"], f"{path}file") if "file" in fields else None,
        delimiter=_delimiter({**defaults, **fields}.get("delimiter"), path),
        encoding=_encoding({**defaults, **fields}.get("encoding"), path),
        type=_event_type(fields["type"], f"{path}type") if "type" in fields else None,
        target_type=(
            _choice(fields["target_type"], TARGETS, f"{path}target_type")
            if "target_type" in fields
            else None
        ),
    )
    if table == "events":
        _check_events(mapped, path)
    return mapped


def _check_roles(columns: tuple[Column, ...], table: str, path: str) -> None:
    headers = [column.column for column in columns]
    if len(set(headers)) != len(headers):
        raise MappingError(f"{path}columns: got a header twice in {headers}")
    for role in SINGLE:
        having = [column.column for column in columns if role in column.roles]
        if len(having) > 1:
            raise MappingError(f"{path}columns: got {role} twice, {having}, expected one column")
    needed = ("actor", "target") if table == "events" else ("id",)
    for role in needed:
        if not any(role in column.roles for column in columns):
            raise MappingError(f"{path}columns: got no column with the role {role!r}, expected one")
    for attribute in ("name", "product_name"):
        column_of: dict[str, str] = {}
        for column in columns:
            name = getattr(column, attribute)
            if name and name in column_of:
                raise MappingError(
                    f"{path}columns.{column.column}.{attribute}: got {name!r}, which "
                    f"{column_of[name]!r} has already, expected another name"
                )
            column_of[name] = column.column


def _check_events(mapped: TableMapping, path: str) -> None:
    for key in ("type", "target_type"):
        if getattr(mapped, key) is not None and mapped.role(key) is not None:
            raise MappingError(f"{path}{key}: got a constant and a column, expected one of them")
    if mapped.type is None and mapped.role("type") is None:
        raise MappingError(
            f"{path}type: got nothing, expected a constant such as 'order' or a column"
        )
    column = mapped.role("type")
    stated = [mapped.type] if column is None else [meaning for _, meaning in column.values]
    targets_known = mapped.target_type is not None or mapped.role("target_type") is not None
    for kind in stated:
        if kind not in RELATIONS and not targets_known:
            raise MappingError(
                f"{path}target_type: got nothing for the events {kind!r}, "
                f"expected one of {list(TARGETS)}"
            )
    if not event_edges(mapped):
        raise MappingError(
            f"{path}type: got events that make no edge, expected a type of {list(RELATIONS)} "
            f"with a fitting target_type of {list(TARGETS)}"
        )


def _column(header: Any, spec: Any, table: str, path: str) -> Column:
    if not isinstance(header, str) or not header.strip():
        raise MappingError(f"{path}: got the header {header!r}, expected text (quote it in YAML)")
    fields = _dict(spec, path)
    roles = _roles(fields.get("role"), ROLES[table], f"{path}.role")
    allowed = tuple(dict.fromkeys(key for role in roles for key in COLUMN_KEYS.get(role, ())))
    _known(fields, ("role", *allowed), path)
    column = Column(
        column=header.strip(),
        roles=roles,
        name=_name(header, fields, roles, path),
        product_name=_product_name(header, fields, roles, path),
        positive=_values(fields.get("positive", []), f"{path}.positive"),
        negative=_values(fields.get("negative", []), f"{path}.negative"),
        decimal=_choice(fields.get("decimal", "."), (".", ","), f"{path}.decimal"),
        unit=_choice(fields.get("unit", "iso"), UNITS, f"{path}.unit"),
        format=_text(fields["format"], f"{path}.format") if "format" in fields else None,
        values=_meanings(fields.get("values", {}), roles, f"{path}.values"),
    )
    if both := sorted(set(column.positive) & set(column.negative)):
        raise MappingError(f"{path}: got {both} as positive and negative, expected one of the two")
    longest = max((len(product) for product, _ in column.products()), default=0)
    if longest > 200:
        raise MappingError(f"{path}: a product's name has {longest} characters, expected 200")
    return column


def _roles(got: Any, allowed: tuple[str, ...], path: str) -> tuple[str, ...]:
    roles = tuple(
        _choice(role, allowed, path) for role in (got if isinstance(got, list) else [got])
    )
    others = [role for role in roles if role != "product"]
    if len(set(roles)) != len(roles) or len(others) > 1:
        raise MappingError(f"{path}: got {list(roles)}, expected one role, or one and product")
    if len(roles) > 1 and others[0] not in ("numeric", "categorical"):
        raise MappingError(f"{path}: got {list(roles)}, expected numeric or categorical by product")
    if not roles:
        raise MappingError(f"{path}: got an empty list, expected one of {list(allowed)}")
    return roles


def _name(header: str, fields: dict[str, Any], roles: tuple[str, ...], path: str) -> str:
    if not {"numeric", "categorical", "label"} & set(roles):
        return ""
    name = _text(fields["name"], f"{path}.name") if "name" in fields else naming.derive(header)
    problem = naming.problem(name)
    if problem is not None:
        raise MappingError(f"{path}.name: got {name!r}, which {problem}, expected another name")
    return name


def _product_name(header: str, fields: dict[str, Any], roles: tuple[str, ...], path: str) -> str:
    if "product" not in roles:
        return ""
    if "product_name" in fields:
        return _text(fields["product_name"], f"{path}.product_name")
    if "name" in fields and roles == ("product",):
        return _text(fields["name"], f"{path}.name")
    return header.strip()


def _meanings(got: Any, roles: tuple[str, ...], path: str) -> tuple[tuple[str, str], ...]:
    meanings = []
    for word, meaning in _dict(got, path).items():
        if "target_type" in roles:
            target = _choice(meaning, TARGETS, f"{path}.{word}")
        else:
            target = _event_type(meaning, f"{path}.{word}")
        meanings.append((_value(word, path), target))
    return tuple(meanings)


def _event_type(got: Any, path: str) -> str:
    kind = _text(got, path)
    if len(kind) > 32 or not EVENT_TYPE.fullmatch(kind):
        raise MappingError(f"{path}: got {kind!r}, expected a short lower-case word, as 'order'")
    return kind


def _values(got: Any, path: str) -> tuple[str, ...]:
    values = tuple(_value(value, path) for value in (got if isinstance(got, list) else [got]))
    if len({value.casefold() for value in values}) != len(values):
        raise MappingError(f"{path}: got a value twice in {list(values)}")
    return values


def _value(got: Any, path: str) -> str:
    if isinstance(got, bool):  # YAML reads an unquoted Yes as true; the reader equates them
        return "Yes" if got else "No"
    if isinstance(got, int | float):
        return str(got)
    return _text(got, path)


def _delimiter(got: Any, path: str) -> str | None:
    if got is None or (isinstance(got, str) and len(got) == 1 and got not in '"\r\n'):
        return got
    raise MappingError(f"{path}delimiter: got {got!r}, expected one character")


def _encoding(got: Any, path: str) -> str | None:
    if got is None:
        return None
    try:
        "a".encode(codecs.lookup(_text(got, f"{path}encoding")).name)
    except (LookupError, TypeError, ValueError):
        raise MappingError(
            f"{path}encoding: got {got!r}, expected a text encoding such as utf-8"
        ) from None
    return str(got)


def _dict(got: Any, path: str) -> dict[Any, Any]:
    if not isinstance(got, dict):
        raise MappingError(f"{path}: got {_short(got)}, expected an object")
    return got


def _text(got: Any, path: str) -> str:
    if not isinstance(got, str) or not got.strip():
        raise MappingError(f"{path}: got {_short(got)}, expected text")
    return got.strip()


def _choice(got: Any, allowed: tuple[str, ...], path: str) -> str:
    if not isinstance(got, str) or got not in allowed:
        raise MappingError(f"{path}: got {_short(got)}, expected one of {list(allowed)}")
    return got


def _known(fields: dict[Any, Any], allowed: tuple[str, ...], path: str) -> None:
    for key in fields:
        if key not in allowed:
            raise MappingError(f"{path}: got the key {_short(key)}, expected {list(allowed)}")


def _short(got: Any) -> str:
    text = repr(got)
    return text if len(text) <= 100 else f"{text[:100]}…"

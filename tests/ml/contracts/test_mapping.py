"""Mappings: what is accepted, what is derived, and errors that name the path."""

import json

import pytest

from ml.contracts.mapping import MappingError, parse_mapping
from ml.contracts.naming import derive
from ml.contracts.schema import TELECOM

WIDE = {
    "format": "wide",
    "columns": {
        "customerID": {"role": "id"},
        "tenure": {"role": "numeric", "name": "tenure_months"},
        "Contract": {"role": "categorical", "name": "plan"},
        "OnlineSecurity": {"role": "product", "positive": ["Yes"], "name": "Online security"},
        "InternetService": {
            "role": ["categorical", "product"],
            "positive": ["DSL", "Fiber optic"],
            "product_name": "Internet",
        },
        "Churn": {"role": "label", "name": "churn", "positive": ["Yes"], "negative": ["No"]},
        "X": {"role": "ignored"},
    },
}
NARROW = {
    "format": "narrow",
    "delimiter": ";",
    "tables": {
        "users": {"columns": {"id": {"role": "id"}, "Age": {"role": "numeric"}}},
        "events": [
            {
                "file": "ratings.csv",
                "type": "rating",
                "target_type": "product",
                "columns": {
                    "userId": {"role": "actor"},
                    "movieId": {"role": "target"},
                    "ts": {"role": "time", "unit": "s"},
                },
            },
            {
                "file": "views.csv",
                "delimiter": ",",
                "encoding": "latin-1",
                "target_type": "product",
                "columns": {
                    "visitor": {"role": "actor"},
                    "item": {"role": "target"},
                    "event": {"role": "type", "values": {"view": "click", "buy": "order"}},
                },
            },
        ],
    },
}


def test_wide_gives_features_products_and_label():
    schema = parse_mapping(WIDE).schema
    assert [(f.name, f.kind) for f in schema.user.features] == [
        ("tenure_months", "numeric"),
        ("plan", "categorical"),
        ("internet_service", "categorical"),
    ]
    assert [edge.key for edge in schema.edges] == [("user", "orders", "product")]
    assert schema.label == "churn"


def test_products_one_a_positive_value():
    columns = {column.column: column for column in parse_mapping(WIDE).tables[0].columns}
    assert dict(columns["OnlineSecurity"].products()) == {"Online security": ("Yes",)}
    assert dict(columns["InternetService"].products()) == {
        "Internet: DSL": ("DSL",),
        "Internet: Fiber optic": ("Fiber optic",),
    }


def test_a_wide_table_without_products_has_no_edges():
    schema = parse_mapping({"format": "wide", "columns": {"a": {"role": "id"}}}).schema
    assert schema.edges == ()
    assert [node.name for node in schema.nodes] == ["user"]


def test_narrow_has_only_what_its_tables_make():
    schema = parse_mapping(NARROW).schema
    assert [node.name for node in schema.nodes] == ["user", "product"]
    assert [(edge.relation, edge.event) for edge in schema.edges] == [
        ("rating", "rating"),
        ("clicks", "click"),
        ("orders", "order"),
    ]


def test_options_of_a_table_go_before_those_of_the_mapping():
    _, ratings, views = parse_mapping(NARROW).tables
    assert (ratings.delimiter, views.delimiter, views.encoding) == (";", ",", "latin-1")


def test_none_is_the_telecom_schema():
    assert parse_mapping(None).schema == TELECOM
    assert parse_mapping({"format": "standard"}) == parse_mapping(None)


@pytest.mark.parametrize("data", [WIDE, NARROW, None])
def test_to_dict_reads_back_through_json(data):
    mapping = parse_mapping(data)
    assert parse_mapping(json.loads(json.dumps(mapping.to_dict()))) == mapping


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Monthly Charges", "monthly_charges"),
        ("MonthlyCharges", "monthly_charges"),
        ("customerID", "customer_id"),
        ("30-day total ($)", "n_30_day_total"),
        ("月费", "月费"),
    ],
)
def test_names_are_derived(column, name):
    assert derive(column) == name


def test_yaml_true_means_yes():
    spec = {"a": {"role": "id"}, "b": {"role": "label", "positive": [True], "negative": [False]}}
    label = parse_mapping({"format": "wide", "columns": spec}).tables[0].columns[1]
    assert (label.positive, label.negative) == (("Yes",), ("No",))


def wide(**columns):
    return {"format": "wide", "columns": {"id": {"role": "id"}, **columns}}


def events(**table):
    columns = {"a": {"role": "actor"}, "b": {"role": "target"}}
    return {"format": "narrow", "tables": {"events": {"columns": columns, **table}}}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([], "mapping:"),
        ({}, "format: got None"),
        ({"format": "tall"}, "format: got 'tall', expected one of"),
        ({"format": "wide"}, "columns: got None"),
        ({**wide(), "extra": 1}, "the key 'extra'"),
        ({"format": "wide", "columns": {"a": {"role": "numeric"}}}, "no column with the role 'id'"),
        (wide(a={"role": "numbr"}), "columns.a.role: got 'numbr'"),
        (wide(a={}), "columns.a.role: got None"),
        (
            wide(a={"role": "label", "positive": [0, 1], "negative": [0]}),
            "columns.a: got ['0'] as positive and negative",
        ),
        (wide(a="numeric"), "columns.a: got 'numeric'"),
        (wide(a={"role": []}), "columns.a.role"),
        (wide(a={"role": "id"}), "got id twice"),
        (wide(a={"role": ["label", "product"]}), "columns.a.role"),
        (wide(a={"role": "numeric", "positive": ["1"]}), "the key 'positive'"),
        (wide(a={"role": "numeric", "name": "two words"}), "columns.a.name: got 'two words'"),
        (wide(a={"role": "numeric", "name": "event_counts"}), "which is reserved"),
        (wide(a={"role": "numeric", "name": "user_id"}), "which is reserved"),
        (wide(a={"role": "numeric", "name": "max"}), "which is reserved"),
        (wide(a={"role": "numeric", "name": "_a"}), "begins with _"),
        (wide(**{"class": {"role": "numeric"}}), "is a keyword"),
        (wide(**{"%": {"role": "numeric"}}), "columns.%.name: got ''"),
        (wide(A={"role": "numeric"}, a={"role": "numeric"}), "which 'A' has already"),
        (wide(a={"role": "product"}, b={"role": "product", "name": "a"}), "b.product_name"),
        (wide(a={"role": "label", "positive": ["x", "X"]}), "a value twice"),
        (wide(a={"role": "label", "positive": [None]}), "columns.a.positive"),
        ({"format": "wide", "columns": {True: {"role": "id"}}}, "the header True"),
        ({**wide(), "delimiter": "::"}, "delimiter: got '::', expected one character"),
        ({**wide(), "encoding": "utf-99"}, "encoding: got 'utf-99'"),
        ({**wide(), "encoding": "base64"}, "encoding: got 'base64'"),
        ({"format": "narrow", "tables": {}}, "tables.events: got nothing"),
        ({"format": "narrow", "tables": {"events": []}}, "tables.events: got an empty list"),
        ({"format": "narrow", "tables": {"people": {}}}, "the key 'people'"),
        (events(), "tables.events[0].type: got nothing"),
        (events(type="Order!"), "tables.events[0].type: got 'Order!'"),
        (
            events(type="rating"),
            "tables.events[0].target_type: got nothing for the events 'rating'",
        ),
        (events(type="order", target_type="shop"), "target_type: got 'shop'"),
        (events(type="order", columns={"a": {"role": "actor"}}), "the role 'target'"),
        (
            events(type="order", columns={"a": {"role": "time", "unit": "days"}}),
            "columns.a.unit: got 'days'",
        ),
    ],
)
def test_errors_name_the_path(data, path):
    with pytest.raises(MappingError) as error:
        parse_mapping(data)
    assert path in str(error.value)


def test_an_event_type_is_a_constant_or_a_column():
    data = events(type="order")
    data["tables"]["events"]["columns"]["kind"] = {"role": "type"}
    with pytest.raises(MappingError, match="a constant and a column"):
        parse_mapping(data)


def test_one_file_is_one_table():
    table = {"file": "a.csv", "columns": {"id": {"role": "id"}}}
    data = {"format": "narrow", "tables": {"users": table, **events(type="call")["tables"]}}
    data["tables"]["events"]["file"] = "A.csv"
    with pytest.raises(MappingError, match="one file twice"):
        parse_mapping(data)

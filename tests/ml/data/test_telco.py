"""The real Telco file through examples/telco.yaml."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from ml.contracts.mapping import parse_mapping
from ml.data.tables import event_counts, read_tables
from ml.rules.rule_set import DEFAULT_RULES, RuleSet, default_rules

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("UPS_SHARED_DATA") or ROOT.parent / "shared" / "data")
TELCO = SHARED / "telco" / "Telco-Customer-Churn.csv"

pytestmark = pytest.mark.skipif(not TELCO.exists(), reason=f"{TELCO} is not there")


@pytest.fixture(scope="module")
def telco(tmp_path_factory):
    mapping = parse_mapping(yaml.safe_load((ROOT / "examples" / "telco.yaml").read_text()))
    path = tmp_path_factory.mktemp("telco") / "received"
    shutil.copyfile(TELCO, path)
    now = datetime(2025, 7, 1, tzinfo=UTC)
    return read_tables(path, mapping, filename=TELCO.name, now=now)


def test_every_user_is_kept(telco):
    tables, report = telco
    assert tables.users.height == 7_043
    assert report.tables["users"].report().to_dict() == {
        "rows_read": 7_043,
        "rows_kept": 7_043,
        "rows_rejected": 0,
        "values_rejected": 0,
        "reasons": {},
        "value_reasons": {},
        "blanks": {"TotalCharges": 11},
    }
    assert tables.users["total_charges"].null_count() == 11
    assert report.label == {"positive": 1_869, "negative": 5_174, "missing": 0}


def test_every_column_is_used(telco):
    tables, report = telco
    header = TELCO.read_text().splitlines()[0].split(",")
    assert len(tables.users.columns) == len(header)
    assert not any("ignored" in warning for warning in report.warnings)
    assert tables.users.null_count().drop("total_charges").sum_horizontal().item() == 0


def test_services_are_products(telco):
    tables, report = telco
    frame = pl.read_csv(TELCO)
    orders = dict(tables.events.group_by("target").len().iter_rows())
    assert len(orders) == tables.products.height == 10
    assert orders["Internet: Fiber optic"] == (frame["InternetService"] == "Fiber optic").sum()
    assert orders["Streaming TV"] == (frame["StreamingTV"] == "Yes").sum()
    assert sum(orders.values()) == report.made_events == tables.events.height
    assert not tables.timed


def test_the_default_rules_tell_something(telco):
    tables, _ = telco
    assert default_rules(tables.schema) == DEFAULT_RULES
    rules = RuleSet(DEFAULT_RULES, tables.schema)
    users = tables.users.join(event_counts(tables), on="user_id", maintain_order="left")
    score = rules.score(rules.hits_frame(users))
    churned = users["churn"].to_numpy() == 1
    assert np.mean(score[churned]) > np.mean(score[~churned]) + 0.2

"""The churn score on the real Telco file: what it must show beside its parts."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from ml.contracts.mapping import parse_mapping
from ml.data.tables import read_tables
from ml.fusion.fitting import fit_profile
from ml.fusion.fusion import FusionConfig
from ml.graph.graph import build_graph
from ml.graph.splits import split_graph
from ml.hgt.model import embed
from ml.hgt.training.train import TrainingConfig, train
from ml.rules.rule_set import RuleSet, default_rules

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("UPS_SHARED_DATA") or ROOT.parent / "shared" / "data")
TELCO = SHARED / "telco" / "Telco-Customer-Churn.csv"


@pytest.mark.skipif(not TELCO.exists(), reason=f"{TELCO} is not there")
def test_the_fused_score_is_calibrated_and_beats_the_rules(tmp_path):
    mapping = parse_mapping(yaml.safe_load((ROOT / "examples" / "telco.yaml").read_text()))
    path = tmp_path / "received"
    shutil.copyfile(TELCO, path)
    now = datetime(2025, 7, 1, tzinfo=UTC)
    tables, _ = read_tables(path, mapping, filename=TELCO.name, now=now)
    graph = build_graph(tables)
    split = split_graph(graph)
    trained = train(split.train, TrainingConfig(epochs=3))
    rules = RuleSet(default_rules(graph.schema), graph.schema)
    fitted = fit_profile(
        graph,
        rules,
        lambda g: embed(trained.model, trained.encoder, g)["user"],
        FusionConfig(),
        cut=None,
    )
    report = fitted.report.to_dict()
    assert (report["target"], report["users"], report["folds"]) == ("label", 7_043, 5)
    assert report["auc"] >= 0.840
    assert report["ece"] <= 0.03
    assert report["auc"] >= report["rules_auc"] + 0.04

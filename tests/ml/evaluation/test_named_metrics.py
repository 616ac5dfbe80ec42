from ml.evaluation.named import flat_metrics


def test_metrics_have_the_names_that_a_task_can_be_told():
    metrics = {
        "links": {
            "mean": {"model": {"mrr": 0.3, "recall@20": 0.5}, "ease": {"mrr": 0.9}},
            "edge_types": {
                "user-orders-product": {"model": {"mrr": 0.2, "ap_historical": 1}, "ease": {}},
                "user-uses-app": {"model": {}},
            },
        },
        "score": {"auc": 0.8, "ap": 0.7, "brier": 0.1, "ece": 0.02, "users": 90, "notes": []},
    }
    assert flat_metrics(metrics) == {
        "links.mrr": 0.3,
        "links.recall_at_20": 0.5,
        "links.user-orders-product.mrr": 0.2,
        "links.user-orders-product.average_precision_historical": 1.0,
        "score.auc": 0.8,
        "score.average_precision": 0.7,
        "score.brier": 0.1,
        "score.calibration_error": 0.02,
    }


def test_what_was_not_measured_is_left_out():
    score = {"auc": None, "ap": None, "brier": None, "ece": None}
    assert flat_metrics({"links": {"edge_types": {}, "mean": {}}, "score": score}) == {}
    assert flat_metrics({}) == {}


def test_a_real_report_gives_every_metric_of_every_edge_type(fitted):
    report = fitted.links.report
    named = flat_metrics({"links": report, "score": fitted.profile.report})
    for edge, row in report["edge_types"].items():
        assert named[f"links.{edge}.mrr"] == row["model"]["mrr"]
        assert named[f"links.{edge}.recall_at_20"] == row["model"]["recall@20"]
    assert named["links.mrr"] == report["mean"]["model"]["mrr"]
    assert named["score.calibration_error"] == fitted.profile.report["ece"]

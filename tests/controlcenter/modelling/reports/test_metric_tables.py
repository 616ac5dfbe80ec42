"""A model's reports as tables, and the drawing of its reliability."""

from report_cases import LINKS, NO_LINKS, RULES, SCORE

from controlcenter.modelling.reports.metric_tables import metric_tables
from controlcenter.modelling.reports.reliability import reliability
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.score import ScoreReport


def by_title(links=NO_LINKS, score=RULES):
    tables = metric_tables(LinkReport.from_dict(links), ScoreReport.from_dict(score))
    return {table.title.split(":")[0]: table for table in tables}


def test_links_stand_beside_ease_and_the_protocol_is_said():
    table = by_title(LINKS)["Held-out links"]
    assert table.columns == ["edge type", "method", "mrr", "ndcg@20"]
    assert [str(cell) for cell in table.rows[1]] == ["", "EASE", "0.1000", "<b>0.4000</b>"]
    assert (
        table.note
        == "ranked among all; negatives: random: 1 a pair; historical: 1 a pair of the past"
    )
    assert table.notes[0].startswith("User-calls-user: the baseline EASE")


def test_slices_without_pairs_are_left_out():
    table = by_title(LINKS)["Held-out links by slice"]
    (row,) = table.rows
    assert [str(cell) for cell in row] == [
        "user-calls-user", "repeat", "40", "0.3000", "–", "–", "–", "<b>0.5000</b>",
    ]  # fmt: skip


def test_the_score_says_what_it_predicts_and_how_it_compares():
    tables = by_title(score=SCORE)
    (note,) = tables["Score"].notes
    assert "gradient boosting): +0.0100; 95% of 1,000 resamples" in note
    about = dict(map(tuple, tables["How the score was measured"].rows))
    assert about["what a 1 means"].startswith("no event in the 30 days")
    assert about["calibration error before calibration"] == "0.1000"
    assert tables["How the score was measured"].notes == ["Label churn: no user has a value."]
    assert tables["Reliability"].rows[0] == ["0 to 0.1", "400", "0.0500", "0.0000"]
    assert tables["Reliability"].note == "Platt scaling"


def test_the_drawing_puts_what_holds_on_the_diagonal():
    drawn = reliability(ScoreReport.from_dict(SCORE))
    assert [(dot.x, dot.y, dot.r) for dot in drawn.dots] == [
        ("56.0", "210.0", "9.0"),
        ("246.0", "110.0", "6.0"),
    ]
    assert drawn.error == "0.0200"
    bare = reliability(ScoreReport.from_dict(SCORE | {"ece": None}))
    assert (bare.dots, bare.error) == (drawn.dots, "")
    assert reliability(ScoreReport.from_dict(RULES)) is None

"""All the tables of a model's metrics."""

from controlcenter.modelling.reports.link_tables import link_tables
from controlcenter.modelling.reports.score_tables import score_tables
from controlcenter.platform.common.formatting import Table
from ml.contracts.reports.links import LinkReport
from ml.contracts.reports.score import ScoreReport


def metric_tables(links: LinkReport | None, score: ScoreReport | None) -> list[Table]:
    """Those that have rows, of the links by edge type and by slice, and of the score."""
    tables = [*(link_tables(links) if links else []), *(score_tables(score) if score else [])]
    return [table for table in tables if table.rows]

"""What a graph was built of."""

from ml.contracts.reports.base import Report, added


class GraphReport(Report, frozen=True, kw_only=True):
    """Counts of a graph; of one that an earlier version left as it was, there are none.

    Args:
        nodes: By type.
        events: All of them; ``events_of_the_log`` came in after the upload, ``added_events`` were
            made by an augmentation; ``dropped_events`` are of a type that the schema doesn't know.
        pairs: Distinct ones by name of the edge type.
    """

    nodes: dict[str, int] = added(dict)
    events: int | None = None
    events_of_the_log: int | None = None
    added_events: int | None = None
    dropped_events: int | None = None
    pairs: dict[str, int] = added(dict)

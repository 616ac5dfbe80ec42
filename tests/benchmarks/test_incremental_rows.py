"""Which rows the benchmark of the incremental engine is held to; nothing is measured here."""

import pytest

from benchmarks.incremental import Times, told

WHAT = (
    "our pass",
    "one read",
    "many reads",
    *(
        f"{events} events{part}"
        for events in ("1,000", "10")
        for part in ("", ", plain", ", ends", ", ends, each", ", everything", ", everything, each")
    ),
)


def times(**change):
    """A second for a pass of PyG, a ten-thousandth for all else unless told."""
    made = Times(counted=True)
    for what in WHAT:
        made.note(what, change.get(what, 1e-4))
    made.note("PyG", 1.0)
    return made


@pytest.mark.parametrize(("seconds", "met"), [(0.00099, True), (0.00101, False)])
@pytest.mark.parametrize(
    ("what", "measured"),
    [
        ("work an event, everything exact", "1,000 events, everything, each"),
        ("work an event of 10, everything exact", "10 events, everything, each"),
        ("work an event, rows of its ends", "10 events, ends, each"),
    ],
)
def test_an_event_is_held_to_a_thousandth_of_a_pass(what, measured, seconds, met):
    rows = {row.what: row for row in told(times(**{measured: seconds})) if row.required}
    assert rows[what].required == 1_000
    assert {name for name, row in rows.items() if not row.met} == (set() if met else {what})

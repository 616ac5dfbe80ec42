"""Measure ours beside a peer in one run, print the table and keep it as JSON.

A benchmark is a module with ``rows() -> list[Row]`` that ends in ``run(rows, "its name")``.
"""

import gc
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from benchmarks import machine

RESULTS = Path(__file__).resolve().parent / "results"
HEAD = ("what", "size", "threads", "ours", "peer", "", "ratio", "required", "")


@dataclass(frozen=True)
class Sample:
    """Repeated measurements of one thing; the spread says how noisy the machine was."""

    median: float
    low: float
    high: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Sample":
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Memory:
    """Bytes of one process: ``peak`` while it worked, ``before`` it began."""

    peak: int
    before: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Args:
        ours: A figure or a sample; of a sample the median counts.
        peer: The same of ``peer_name``; or the limit that a requirement sets.
        unit: Of ours and peer: ``s``, ``B``, ``ms`` or what a quality is measured by.
        better: ``lower`` for times and bytes: ratio = peer / ours; ``higher`` for rates and
            qualities: ratio = ours / peer. So a ratio above 1 is always in our favour.
        required: The smallest ratio that is enough; None where a row only informs.
        threads: All that the process may use unless given.
        notes: What a reader has to know to judge the figures.
    """

    what: str
    size: str
    ours: Sample | float
    peer: Sample | float | None = None
    peer_name: str = ""
    unit: str = "s"
    better: Literal["lower", "higher"] = "lower"
    required: float | None = None
    threads: int = field(default_factory=machine.cores)
    notes: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; infinite where what should be low is 0."""
        if self.peer is None:
            return None
        ours, peer = median(self.ours), median(self.peer)
        above, below = (peer, ours) if self.better == "lower" else (ours, peer)
        return above / below if below else math.inf

    @property
    def met(self) -> bool | None:
        """Whether the ratio is what is required; None where nothing is."""
        if self.required is None or self.ratio is None:
            return None
        return self.ratio >= self.required


def median(figure: Sample | float) -> float:
    """The figure that stands in the table."""
    return figure.median if isinstance(figure, Sample) else figure


def interleave(
    works: Mapping[str, Callable[[], object]],
    *,
    repeat: int = 7,
    warmup: int = 1,
    seconds: float = 120.0,
    turn_seconds: float = 0.0,
) -> dict[str, Sample]:
    """Time several functions in turns (A B C A B C …), so that noise meets all of them alike.

    Args:
        repeat: Rounds that count.
        warmup: Rounds before them that don't.
        seconds: No further round begins after so long, but one is always counted.
        turn_seconds: What ends sooner is called again and again in its turn, for about so long;
            the figure is the mean of a call. 0: one call a turn.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    calls = dict.fromkeys(works, 1)
    begun = time.perf_counter()
    for turn in range(-warmup, repeat):
        if turn > 0 and time.perf_counter() - begun > seconds:
            break
        for name, work in works.items():
            spent = timed(work, calls[name])
            if turn >= 0:
                times[name].append(spent)
            elif turn_seconds:
                calls[name] = max(1, round(turn_seconds / spent))
    return {name: Sample.of(values) for name, values in times.items()}


def timed(work: Callable[[], object], calls: int = 1) -> float:
    """Seconds of a call, without the collector of garbage in between."""
    gc.collect()
    gc.disable()
    try:
        begun = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - begun) / calls
    finally:
        gc.enable()


def measure(
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    repeat: int = 7,
    warmup: int = 1,
    seconds: float = 120.0,
    turn_seconds: float = 0.0,
) -> tuple[Sample, Sample]:
    """Seconds of ours and of the peer, taken in turns; the arguments are those of interleave."""
    samples = interleave(
        {"ours": ours, "peer": peer},
        repeat=repeat,
        warmup=warmup,
        seconds=seconds,
        turn_seconds=turn_seconds,
    )
    return samples["ours"], samples["peer"]


def peak_memory(prepare: Callable[..., Callable[[], object]], *args: object) -> Memory:
    """The most memory a fresh process holds while it runs what ``prepare(*args)`` returns.

    Args:
        prepare: A function of a module, which the other process can import; it loads the inputs.

    Raises:
        RuntimeError: if the process ended without an answer (the reason is in its output).
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_watch, args=(there, prepare, args))
    process.start()
    there.close()
    try:
        before, peak = here.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"measuring the memory of {prepare.__qualname__} ended with {process.exitcode}"
        ) from None
    process.join()
    return Memory(peak=peak, before=before)


def _watch(answer: Connection, prepare: Callable[..., Any], args: tuple[object, ...]) -> None:
    work = prepare(*args)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = _resident("VmRSS")
    work()
    answer.send((before, _resident("VmHWM")))


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


# The table and the JSON


def run(rows: Callable[[], list[Row]], name: str, *, keep: bool = True) -> None:
    """What a benchmark's ``__main__`` does: measure, then report.

    Args:
        keep: False for a run that leaves something out: its table is printed, and the JSON of the
            last whole run stays as it is.
    """
    found = rows()
    if keep:
        report(found, name)
    else:
        print(f"{table([as_json(row) for row in found])}\n{name}.json stays: not all was measured")


def report(
    rows: Sequence[Row],
    name: str,
    *,
    versions: Mapping[str, str] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Print the table and write ``results/<name>.json``.

    Args:
        versions: Of what is no Python package, such as a server.
    """
    lines = [as_json(row) for row in rows]
    document = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.machine(),
        "versions": machine.versions() | dict(versions or {}),
        "rows": lines,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    print(table(lines))
    return path


def as_json(row: Row) -> dict[str, Any]:
    """The row as it is kept: figures with their spread, ratio and whether it is enough.

    JSON has no infinity: an infinite figure or ratio is null.
    """
    ratio = row.ratio
    return {
        "what": row.what,
        "size": row.size,
        "threads": row.threads,
        "unit": row.unit,
        "ours": _figure(row.ours),
        "peer": None if row.peer is None else {"name": row.peer_name} | _figure(row.peer),
        "ratio": None if ratio is None else _rounded(ratio),
        "better": row.better,
        "required": row.required,
        "met": row.met,
        "notes": row.notes,
    }


def _figure(figure: Sample | float) -> dict[str, Any]:
    if not isinstance(figure, Sample):
        return {"median": _rounded(figure)}
    spread = [_rounded(figure.low), _rounded(figure.high)]
    return {"median": _rounded(figure.median), "spread": spread, "repeats": figure.repeats}


def _rounded(number: float) -> float | None:
    return None if math.isinf(number) else float(f"{number:.4g}")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of JSON as aligned text; under a row, its notes."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    notes = ["", *(row["notes"] for row in rows)]
    text = []
    for line, note in zip(lines, notes, strict=True):
        text.append("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
        if note:
            text.append(f"    {note}")
    return "\n".join(text)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    peer, met = row["peer"], row["met"]
    return (
        row["what"],
        row["size"],
        str(row["threads"]),
        _shown(row["ours"], row["unit"]),
        "" if peer is None else _shown(peer, row["unit"]),
        "" if peer is None else peer["name"],
        "" if row["ratio"] is None else f"{row['ratio']:.3g} ×",
        "" if row["required"] is None else f"≥ {row['required']:g} ×",
        "" if met is None else ("met" if met else "NOT MET"),
    )


def _shown(figure: Mapping[str, Any], unit: str) -> str:
    number = figure["median"]
    scale, name = _scale(math.inf if number is None else number, unit)
    told = f"{_scaled(number, scale)} {name}".rstrip()
    if "spread" in figure:
        low, high = (_scaled(end, scale) for end in figure["spread"])
        told += f" [{low}–{high}]"
    return told


def _scaled(number: float | None, scale: float) -> str:
    return "infinite" if number is None else f"{number / scale:.3g}"


def _scale(number: float, unit: str) -> tuple[float, str]:
    scales = {
        "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
        "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    }.get(unit, ((1.0, unit),))
    return next((scale for scale in scales if abs(number) >= scale[0]), scales[-1])

"""The lineage as a picture: boxes in columns by kind, lines from what was read to what was made."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from django.urls import reverse

from controlcenter.lineage.node import DERIVED, Node
from controlcenter.lineage.queries import Lineage
from controlcenter.lineage.refs import DATASET, EVALUATION, GRAPH, PROFILE, PROFILES, VERSION, Edge
from controlcenter.platform.common.formatting import NOT_VALIDATED, Table, link, number, when

COLUMNS = [(DATASET,), (DERIVED,), (GRAPH,), (VERSION,), (EVALUATION, PROFILES, PROFILE)]
TITLES = {
    DATASET: "dataset", DERIVED: "derived dataset", GRAPH: "graph", VERSION: "model version",
    EVALUATION: "evaluation", PROFILES: "profiles", PROFILE: "profile",
}  # fmt: skip
WIDTH, HEIGHT, GAP, ROW, MARGIN = 172, 46, 44, 62, 8
LETTERS = 25
PAGES: dict[str, Callable[[Node], str]] = {
    DATASET: lambda node: reverse("admin:datasets_dataset_change", args=[node.id]),
    DERIVED: lambda node: reverse("admin:datasets_dataset_change", args=[node.id]),
    GRAPH: lambda node: reverse("admin:runs_run_change", args=[node.id]),
    VERSION: lambda node: reverse("admin:registry_modelversion_change", args=[node.id]),
    EVALUATION: lambda node: reverse("admin:evaluations_evaluationreport_change", args=[node.id]),
    PROFILES: lambda node: reverse("admin:profiles_profile_changelist"),
}


@dataclass(frozen=True)
class Box:
    """A node where it is drawn; ``style`` says whether it is asked for, or gone."""

    node: Node
    x: float
    y: float
    label: str
    below: str
    url: str
    style: str

    @property
    def middle(self) -> float:
        return self.y + HEIGHT / 2

    @property
    def text_x(self) -> float:
        return self.x + 8


@dataclass(frozen=True)
class Line:
    """An edge where it is drawn."""

    path: str
    back: bool
    text: str


@dataclass(frozen=True)
class Picture:
    """The drawing, its size, and the same as a table."""

    boxes: list[Box]
    lines: list[Line]
    width: int
    height: int
    text: str
    table: Table
    truncated: bool


def picture(lineage: Lineage) -> Picture | None:
    """The drawing of a lineage; None where there is nothing to draw."""
    if not lineage.nodes:
        return None
    boxes = place(lineage)
    lines = [line(boxes[e.source.key], boxes[e.target.key], e) for e in lineage.edges]
    return Picture(
        boxes=list(boxes.values()),
        lines=lines,
        width=int(max(box.x for box in boxes.values())) + WIDTH + 2 * MARGIN,
        height=int(max(box.y for box in boxes.values())) + HEIGHT + ROW // 2,
        text=summary(lineage),
        table=as_table(lineage),
        truncated=lineage.truncated,
    )


def place(lineage: Lineage) -> dict[str, Box]:
    """Columns from left to right; each box beside the middle of what it was made from."""
    parents: dict[str, list[str]] = {}
    for edge in lineage.edges:
        parents.setdefault(edge.target.key, []).append(edge.source.key)
    boxes: dict[str, Box] = {}
    x = float(MARGIN)
    for kinds in COLUMNS:
        column = [node for node in lineage.nodes if node.kind in kinds]
        level = {node.key: beside(parents.get(node.key, []), boxes) for node in column}
        y = float(MARGIN)
        for node in sorted(column, key=lambda n: (level[n.key], str(n.at or ""), n.key)):
            y = max(y, level[node.key]) if level[node.key] < inf else y
            boxes[node.key] = box(node, x, y, requested=node.key in lineage.starts)
            y += ROW
        x += (WIDTH + GAP) if column else 0
    return boxes


def beside(parents: list[str], boxes: dict[str, Box]) -> float:
    """How far down a box belongs; at the end where its parents are of its own column or later."""
    above = [boxes[key].y for key in parents if key in boxes]
    if above:
        return sum(above) / len(above)
    return inf if parents else float(MARGIN)


def box(node: Node, x: float, y: float, *, requested: bool) -> Box:
    """A node at a place, with its label cut to what fits."""
    state = node.state if node.exists else "gone"
    styles = (("ups-asked", requested), ("ups-gone", not node.exists))
    return Box(
        node=node,
        x=round(x, 1),
        y=round(y, 1),
        label=node.name if len(node.name) <= LETTERS else f"{node.name[: LETTERS - 1]}…",
        below=", ".join(part for part in (TITLES[node.kind], state) if part),
        url=page_of(node),
        style=" ".join(name for name, on in styles if on),
    )


def page_of(node: Node) -> str:
    """Where the admin shows it; empty: nowhere."""
    return PAGES[node.kind](node) if node.kind in PAGES else ""


def line(source: Box, target: Box, edge: Edge) -> Line:
    """A curve to the right; to the left where a later iteration takes something up."""
    text = f"{source.node.name} → {target.node.name}: {edge.how}"
    if source.x == target.x:
        x = source.x + WIDTH
        bend = x + GAP * 0.8
        path = (
            f"M{x} {source.middle} C{bend} {source.middle} {bend} {target.middle} "
            f"{x} {target.middle}"
        )
        return Line(path, False, text)
    if target.x < source.x:
        x, y = target.x + WIDTH * 0.8, target.y + HEIGHT
        path = (
            f"M{source.x} {source.middle} C{source.x - GAP} {source.middle} {x} {y + ROW} {x} {y}"
        )
        return Line(path, True, text)
    begin = source.x + WIDTH
    path = (
        f"M{begin} {source.middle} C{begin + GAP} {source.middle} "
        f"{target.x - GAP} {target.middle} {target.x} {target.middle}"
    )
    return Line(path, False, text)


def summary(lineage: Lineage) -> str:
    """The picture in one sentence."""
    counts: dict[str, int] = {}
    for node in lineage.nodes:
        counts[TITLES[node.kind]] = counts.get(TITLES[node.kind], 0) + 1
    counted = ", ".join(f"{count} × {title}" for title, count in counts.items())
    return f"Lineage: {counted}; {len(lineage.edges)} lines. The table below says the same."


def as_table(lineage: Lineage) -> Table:
    """The picture for those who don't see it."""
    names = {node.key: node for node in lineage.nodes}
    sources: dict[str, list[str]] = {}
    for edge in lineage.edges:
        source = f"{names[edge.source.key].name} ({edge.how})"
        sources.setdefault(edge.target.key, []).append(source)
    rows = [table_row(node, sources.get(node.key, [])) for node in lineage.nodes]
    columns = ["what", "name", "made", "by", "from", "numbers", "is there"]
    return Table("Lineage as a table", columns, rows, wide=True)


def table_row(node: Node, sources: list[str]) -> list[object]:
    """A node as a row of the table.

    Args:
        sources: What it was made from, with how.
    """
    url = page_of(node)
    made_by = ""
    if node.task:
        made_by = link(
            reverse("admin:tasks_task_change", args=[node.task]),
            f"task {node.task[:8]}, iteration {node.iteration}",
        )
    numbers = [f"{name.replace('_', ' ')} {number(value)}" for name, value in node.numbers.items()]
    if node.score_validated is False:
        numbers.append(f"score {NOT_VALIDATED}")
    return [
        TITLES[node.kind],
        link(url, node.name) if url else node.name,
        when(node.at),
        made_by,
        "; ".join(sources),
        ", ".join(numbers),
        "yes" if node.exists else "no",
    ]

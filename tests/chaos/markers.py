"""Files that tell a running process of the system to go wrong at a named point, once."""

import os
from pathlib import Path

POINTS = (
    "after-claim",
    "in-stage",
    "after-upload",
    "before-commit",
    "inside-commit",
    "after-commit",
    "after-publish",
)
ACTIONS = ("kill", "kill-worker", "terminate", "lose-answer")


class Markers:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_environment(cls) -> "Markers":
        return cls(Path(os.environ["CHAOS_DIR"]))

    def put(self, task: object, stage: str, point: str, action: str = "kill") -> None:
        """Have whoever reaches the point of the task's stage do this, once."""
        assert point in POINTS
        assert action in ACTIONS
        (self.folder / f"{task}.{stage}.{point}").write_text(action)

    def take(self, task: object, stage: str, point: str) -> str:
        """What is to be done at a point that was reached; empty: nothing. Only one gets it."""
        marker = self.folder / f"{task}.{stage}.{point}"
        try:
            action = marker.read_text()
            marker.rename(marker.with_name(f"{marker.name}.done"))
        except FileNotFoundError:
            return ""
        return action

    def untouched(self) -> list[str]:
        """Points that nobody reached."""
        return sorted(one.name for one in self.folder.iterdir() if one.suffix[1:] in POINTS)

    def tell(self, name: str, value: str) -> None:
        """A standing order, until it is told anew."""
        partial = self.folder / f"{name}.partial"
        partial.write_text(value)
        partial.rename(self.folder / name)

    def told(self, name: str) -> str:
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return ""

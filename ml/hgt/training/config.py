"""How a model is trained."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ml.graph.ages import check_days
from ml.hgt.model import ModelConfig

TEMPERATURES = (0.05, 0.5)


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        epochs: Passes in which every distinct pair is supervised once.
        learning_rate: Peak of a cosine schedule with a short warm-up.
        temperature: Where the learned temperature of each edge type starts.
        seed: Of the weights and of every draw.
        folds: Parts of an epoch: one part is supervised while the others carry the messages.
        fanout: At most so many random edges of one type into a node in a training step.
        fanout_below: The same for the nodes that only others need; None: as ``fanout``.
        batch_size: About so many supervised edges of one type in a step.
        max_steps: An epoch ends after so many steps, with the pairs that had their turn; None:
            after all.
        forget: Share of categories and nodes taken for unknown in a step, so that it is learned.
        temporal: Pairs with times are supervised a window of time a step, and only pairs from
            before it carry messages.
        device: ``cpu`` or ``cuda``.
        processes: Among how many processes of this machine each step is divided.
        edge_ages: See ``ml.hgt.model.ModelConfig``; with ``temporal`` alone, as an edge has an age
            at a moment, and a fold has none.
    """

    epochs: int = 8
    learning_rate: float = 0.01
    temperature: float = 0.1
    seed: int = 0
    hidden: int = 64
    heads: int = 4
    layers: int = 2
    folds: int = 3
    fanout: int = 30
    fanout_below: int | None = None
    batch_size: int = 2048
    max_steps: int | None = None
    forget: float = 0.1
    weight_decay: float = 1e-4
    temporal: bool = False
    device: str = "cpu"
    processes: int = 1
    edge_ages: Sequence[float] = ()

    def __post_init__(self) -> None:
        low, high = TEMPERATURES
        if self.epochs < 1 or self.folds < 2 or self.fanout < 1 or self.batch_size < 2:
            raise ValueError(
                f"epochs {self.epochs}, folds {self.folds}, fanout {self.fanout}, batch_size "
                f"{self.batch_size}: expected at least 1, 2, 1 and 2"
            )
        for name in ("fanout_below", "max_steps", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if not low <= self.temperature <= high:
            raise ValueError(f"temperature is {self.temperature}, expected {low} to {high}")
        check_days(self.edge_ages)
        if self.edge_ages and not self.temporal:
            raise ValueError(
                f"edge_ages are {list(self.edge_ages)}, expected temporal=True beside them: folds "
                "are of all times at once, and have no moment at which an edge has an age"
            )
        if not 0.0 < self.learning_rate <= 1.0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected above 0 to 1")

    @property
    def model(self) -> ModelConfig:
        return ModelConfig(self.hidden, self.heads, self.layers, self.edge_ages)

    @property
    def fanouts(self) -> list[int]:
        """Of each layer, from the lowest."""
        return [self.fanout_below or self.fanout] * (self.layers - 1) + [self.fanout]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"edge_ages": list(self.edge_ages)}

"""What a training run needs to go on: weights, optimizer, epochs, and the place in one.

The random state needs no keeping, as every epoch makes its generator from the seed.
"""

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Progress:
    """Where training stands after an epoch.

    Args:
        losses_by_edge_type: Mean InfoNCE by name; None where a type contributes nothing.
        share: Part of the work that is done, 0 to 1.
    """

    epoch: int
    epochs: int
    loss: float
    losses_by_edge_type: dict[str, float | None]
    share: float


@dataclass
class PartialEpoch:
    """An epoch that was stopped on its way.

    Args:
        steps: Steps that are done.
        losses: Of these steps, by edge type.
    """

    steps: int
    losses: dict[str, list[float]]


def pack(
    state: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    history: list[Progress],
    partial_epoch: PartialEpoch | None = None,
) -> bytes:
    """A checkpoint as bytes, which are read without executing anything.

    Args:
        identity: What the run is of; ``restore`` refuses another.
        partial_epoch: The epoch after those of ``history``, if it was begun.
    """
    buffer = io.BytesIO()
    content = {
        "identity": identity,
        "state": state.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": [asdict(progress) for progress in history],
        "begun": asdict(partial_epoch) if partial_epoch else None,
    }
    torch.save(content, buffer)
    return buffer.getvalue()


def restore(
    checkpoint: bytes,
    state: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> tuple[list[Progress], PartialEpoch | None]:
    """Put a checkpoint back and return the epochs behind it, and the one that was begun.

    Raises:
        ValueError: if it is of another run: config, schema or number of nodes.
    """
    device = next(state.parameters()).device
    content = torch.load(io.BytesIO(checkpoint), map_location=device, weights_only=True)
    if content["identity"] != identity:
        raise ValueError(
            f"the checkpoint is of {content['identity']}, this run is {identity}: start without it"
        )
    state.load_state_dict(content["state"])
    optimizer.load_state_dict(content["optimizer"])
    partial_epoch = PartialEpoch(**content["begun"]) if content.get("begun") else None
    return [Progress(**progress) for progress in content["history"]], partial_epoch

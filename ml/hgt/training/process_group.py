"""What processes that train one model tell each other: embeddings, gradients and losses.

Each process embeds its part of the nodes that a step needs and asks its part of the questions; so
what they compute adds up to what one process would, and all of them take the same step.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn

Array = npt.NDArray[Any]


class ProcessLost(Exception):
    """A process of the group is gone: none of the others can go on."""


class Group:
    """The processes of a run; this one alone where there is no other."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def part(self, nodes: Array) -> Array:
        """This process's share of ``nodes``."""
        return nodes[self.rank :: self.size]

    def gather(self, z_dict: Mapping[str, Tensor], nodes: Mapping[str, Array]) -> dict[str, Tensor]:
        """Rows of all processes from their parts; gradients go back to whoever made a row.

        Args:
            z_dict: Rows of ``part(nodes)`` by node type.

        Shapes: [part, d] → [n, d].
        """
        if self.size == 1:
            return dict(z_dict)
        lengths = np.array(
            [[len(ids[rank :: self.size]) for ids in nodes.values()] for rank in range(self.size)]
        )
        room = int(lengths.sum(1).max())
        mine = torch.cat([z_dict[name] for name in nodes])
        mine = nn.functional.pad(mine, (0, 0, 0, room - len(mine)))
        rows: Tensor = _Gather.apply(mine, self)  # type: ignore[no-untyped-call]
        first = np.cumsum(lengths, axis=1) - lengths
        gathered = {}
        for position, (name, ids) in enumerate(nodes.items()):
            i = np.arange(len(ids))
            rank = i % self.size
            index = rank * room + first[rank, position] + i // self.size
            gathered[name] = rows.index_select(0, torch.from_numpy(index).to(rows.device))
        return gathered

    def add_up(self, parameters: list[nn.Parameter], losses: Tensor) -> Tensor:
        """Sum gradients (in place) and losses over all processes."""
        if self.size == 1:
            return losses
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([losses, *(grad.reshape(-1) for grad in grads)])
        _or_process_lost(lambda: distributed.all_reduce(flat))
        total, *summed = torch.split(flat, [len(losses), *(grad.numel() for grad in grads)])
        for parameter, grad in zip(parameters, summed, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(grad.view_as(parameter))
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process: all of them get the same answer."""
        if self.size == 1:
            return flag
        any_set = torch.tensor([float(flag)], device=_device())
        _or_process_lost(lambda: distributed.all_reduce(any_set))
        return bool(any_set.item() > 0)

    def agree(self, parameters: list[Tensor]) -> None:
        """Give every process the values of the first."""
        for parameter in parameters if self.size > 1 else ():
            _or_process_lost(lambda values=parameter: distributed.broadcast(values, 0))  # type: ignore[misc]


ALONE = Group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor, group: Group) -> Tensor:
        ctx.group, ctx.room = group, len(mine)
        parts = [torch.empty_like(mine) for _ in range(group.size)]
        _or_process_lost(lambda: distributed.all_gather(parts, mine.contiguous()))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        summed = grads[0].contiguous().clone()
        _or_process_lost(lambda: distributed.all_reduce(summed))
        return summed[ctx.group.rank * ctx.room :][: ctx.room], None


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


def _or_process_lost(call: Callable[[], Any]) -> None:
    """Raises: ProcessLost where the others can't be reached."""
    try:
        call()
    except RuntimeError as error:
        raise ProcessLost(str(error)) from error

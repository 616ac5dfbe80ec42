"""What the age of an edge says: the relative temporal encoding of the HGT paper.

Source: Hu et al., Heterogeneous Graph Transformer, WWW 2020 (arXiv 2003.01332), section 3.3: to the
state of the source of each edge a linear map of sines and cosines of its age is added before keys
and values are made of it. Here ages come in classes, so that what it adds is a row of a small
table, and edges need not carry a number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ml.contracts.schema import EdgeKey
from ml.graph.adjacency import Adjacency
from ml.graph.ages import MARK, UNKNOWN, age_of

LONGEST = 10_000
"""Wave lengths rise from one day times 2π to so many."""


class TimeEncoding(nn.Module):
    """A vector for each age class; zero before the first step.

    Args:
        edge_ages: Where each class but the first begins, in days.
    """

    base: Tensor

    def __init__(self, edge_ages: Sequence[float], hidden: int) -> None:
        super().__init__()
        days = torch.tensor([0.0, *edge_ages])[:, None]
        waves = days * LONGEST ** (-torch.arange(0, hidden, 2) / hidden)
        both = torch.stack([waves.sin(), waves.cos()], dim=2).flatten(1)
        self.register_buffer("base", both[:, :hidden].contiguous())
        self.lin = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.lin.weight)
        nn.init.zeros_(self.lin.bias)

    def forward(self) -> Tensor:
        """Shape: [classes, hidden]."""
        encoding: Tensor = self.lin(self.base)
        return encoding


def sender(key: EdgeKey) -> str:
    """Whose keys and values the messages of a type are made of: its source type, or this type as
    edges of one age class see it."""
    age = age_of(key)
    return key[0] if age == UNKNOWN else f"{key[0]}{MARK}{age}"


def by_sender(adjacency: Adjacency, keys: Sequence[EdgeKey]) -> tuple[Adjacency, list[EdgeKey]]:
    """The same edges and message types with their senders as the source types.

    Args:
        keys: Message types of the adjacency.
    """
    named = [(sender(key), *key[1:]) for key in keys]
    sizes = {sender(key): adjacency.num_nodes[key[0]] for key in keys}
    relations = {name: adjacency.relations[key] for name, key in zip(named, keys, strict=True)}
    return Adjacency({**adjacency.num_nodes, **sizes}, relations), named

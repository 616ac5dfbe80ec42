"""What the age of an edge says: the relative temporal encoding of the HGT paper.

Source: Hu et al., Heterogeneous Graph Transformer, WWW 2020 (arXiv 2003.01332), section 3.3: to the
state of the source of each edge a linear map of sines and cosines of its age is added before keys
and values are made of it. Here ages come in classes, so that what it adds is a row of a small
table, and edges need not carry a number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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

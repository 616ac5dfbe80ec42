"""What the layers begin with: who a node is, and who its neighbours are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.graph.adjacency import total
from ml.graph.message_types import MessageType
from ml.graph.messages import Messages
from ml.hgt.attention.neighbour_sums import gather_sum
from ml.hgt.encoders import CODE_BITS, NodeInputs


class NodeProjection(nn.Module):
    """Who a node is, to the hidden width: W [numeric, 1] + Σ embedding(category) + identity.

    The identity is a learned vector for a node that was there at training, and for every node a
    projection of the fixed code of its id. The one is all that a node without features has.
    """

    def __init__(self, numeric: int, cardinalities: list[int], slots: int, hidden: int) -> None:
        super().__init__()
        self.lin = nn.Linear(numeric + 1, hidden, bias=False)
        self.categories = nn.ModuleList(nn.Embedding(size, hidden) for size in cardinalities)
        for embedding in self.categories:
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=0.5 * hidden**-0.5)
        self.code = nn.Parameter(nn.init.orthogonal_(torch.empty(CODE_BITS, hidden)))
        self.code_weight = nn.Parameter(torch.ones(1))
        self.ids = nn.Embedding(slots, hidden)
        nn.init.zeros_(self.ids.weight)

    def identity(self, inputs: NodeInputs) -> Tensor:
        """Shapes: [n, ...] → [n, hidden]."""
        known: Tensor = self.ids(inputs.slot)
        return known + self.code_weight * (inputs.code @ self.code / CODE_BITS**0.5)

    def forward(self, inputs: NodeInputs, identity: Tensor) -> Tensor:
        """Shapes: [n, ...] → [n, hidden]."""
        h: Tensor = self.lin(F.pad(inputs.numeric, (0, 1), value=1.0)) + identity
        for position, embedding in enumerate(self.categories):
            h = h + embedding(inputs.categorical[:, position])
        return h


class NeighbourhoodSum(nn.Module):
    """What a node's own edges say without attention: who its neighbours are, and how many.

    s_v = Σ_t (w_t / sqrt(d_t) Σ_{u → v} identity_u + log(1 + d_t) c_t)

    As the codes in the identities are almost orthogonal, <s_v, s_w> grows with the neighbours that
    v and w share: collaborative filtering is there before the first step. A changed edge changes
    this at its two ends alone, which the incremental refresh lives on.
    """

    def __init__(self, order: list[MessageType], hidden: int) -> None:
        super().__init__()
        self._index = {message: i for i, message in enumerate(order)}
        self.weight = nn.Parameter(torch.ones(len(order)))
        self.count = nn.Parameter(torch.zeros(len(order), hidden))

    def part(
        self, message: MessageType, total: Tensor, degree: Tensor, log_count: Tensor
    ) -> Tensor:
        """What one message type adds.

        Args:
            total: Sum of the identities of the neighbours. Shape: [n, hidden].
            degree: Neighbours summed. Shape: [n].
            log_count: log(1 + neighbours), also where a cap left some out. Shape: [n].
        """
        i = self._index[message]
        scaled = total / degree.clamp(min=1).sqrt()[:, None]
        return self.weight[i] * scaled + log_count[:, None] * self.count[i]

    def forward(self, identity_dict: Mapping[str, Tensor], messages: Messages) -> dict[str, Tensor]:
        """Shapes: [n, hidden] → [n, hidden]."""
        out = {name: torch.zeros_like(identity) for name, identity in identity_dict.items()}
        for message in self._index:
            size = len(identity_dict[message.target])
            sums = [
                gather_sum(identity_dict[message.source], relation, size)
                for relation in messages.adjacency.of(message)
            ]
            degree = messages.adjacency.degree(message)
            log_count = messages.log_counts[message]
            part = self.part(message, total(sums), degree, log_count)
            out[message.target] = out[message.target] + part
        return out

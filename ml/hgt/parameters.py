"""Parameters of a layer under the names that they have in ``torch_geometric.nn.HGTConv``."""

from collections.abc import Sequence

import torch
from torch import nn

from ml.graph.message_types import MessageType


class LinearByNodeType(nn.Module):
    """A linear map for each node type."""

    def __init__(self, names: Sequence[str], columns_in: int, columns_out: int) -> None:
        super().__init__()
        self.lins = nn.ModuleDict(
            {_escaped(name, nn.ModuleDict): nn.Linear(columns_in, columns_out) for name in names}
        )

    def __getitem__(self, name: str) -> nn.Linear:
        lin = self.lins[_escaped(name, nn.ModuleDict)]
        assert isinstance(lin, nn.Linear)
        return lin


class RelationWeights(nn.Module):
    """A square matrix for each head and message type, in this order. Shape: [H·T, D, D]."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(count, width, width).uniform_(-bound, bound))


def node_type_key(node_type: str) -> str:
    """The name of a node type in a ``ParameterDict``."""
    return _escaped(node_type, nn.ParameterDict)


def message_key(message: MessageType) -> str:
    """The name of a message type in a ``ParameterDict``, the same for every age."""
    return _escaped("__".join(message.key), nn.ParameterDict)


def _escaped(name: str, kind: type[nn.Module]) -> str:
    """A name as PyG writes it in state dicts: no dots, and no name of the container's own."""
    return (f"<{name}>" if hasattr(kind, name) else name).replace(".", "#")

"""The heterogeneous graph transformer: project, attend, normalise.

Source: Hu et al., Heterogeneous Graph Transformer, WWW 2020 (arXiv 2003.01332).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.data.schema import EdgeKey, GraphSchema
from ml.graph.graph import Graph, message_types
from ml.graph.sampling import Messages, arriving_types, build_messages, pair_tensors
from ml.hgt.encoders import CODE_BITS, FeatureEncoder, NodeInputs

EMBEDDING_DIM = 64


@dataclass(frozen=True)
class ModelConfig:
    """Size of the model: width of the states, attention heads, layers."""

    hidden: int = 64
    heads: int = 4
    layers: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class NodeProjection(nn.Module):
    """Features of a node type to the hidden width: W [numeric, degree, 1] + Σ embedding(category).

    The one is all that a node type without features and neighbours has.
    """

    def __init__(self, numeric: int, degrees: int, cardinalities: list[int], hidden: int) -> None:
        super().__init__()
        self.lin = nn.Linear(numeric + 1, hidden, bias=False)
        # How many neighbours a node has is large at first and would drown who they are.
        self.degree = nn.Parameter(torch.zeros(degrees, hidden))
        self.categories = nn.ModuleList(nn.Embedding(size, hidden) for size in cardinalities)
        for embedding in self.categories:
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=0.5 * hidden**-0.5)

    def forward(self, inputs: NodeInputs, degree: Tensor) -> Tensor:
        """Shapes: [n, ...] → [n, hidden]."""
        h: Tensor = self.lin(F.pad(inputs.numeric, (0, 1), value=1.0)) + degree @ self.degree
        for position, embedding in enumerate(self.categories):
            h = h + embedding(inputs.categorical[:, position])
        return h


class Sketch(nn.Module):
    """Who a node is and who its neighbours are, from the fixed codes of their ids.

    s_v = w_self P c_v + Σ_t w_t / sqrt(d_t) Σ_{u → v} P c_u

    As random codes are almost orthogonal, <s_v, s_w> grows with the neighbours that v and w share:
    collaborative filtering is there before the first step, and attention refines it. A node's
    sketch depends on its own edges alone, so a changed edge changes two sketches.
    """

    def __init__(self, node_types: list[str], order: list[EdgeKey], hidden: int) -> None:
        super().__init__()
        self.order = order
        self.base = nn.ParameterDict(
            {
                name: nn.Parameter(nn.init.orthogonal_(torch.empty(CODE_BITS, hidden)))
                for name in node_types
            }
        )
        self.own = nn.ParameterDict({name: nn.Parameter(torch.ones(1)) for name in node_types})
        self.weight = nn.Parameter(torch.ones(len(order)))

    def forward(
        self, inputs: Mapping[str, NodeInputs], edge_index_dict: Mapping[EdgeKey, Tensor]
    ) -> dict[str, Tensor]:
        code = {name: inputs[name].code @ base / CODE_BITS**0.5 for name, base in self.base.items()}
        s_dict = {name: self.own[name] * c for name, c in code.items()}
        for position, key in enumerate(self.order):
            src, dst = edge_index_dict[key]
            degree = torch.bincount(dst, minlength=len(code[key[2]])).clamp(min=1)
            sent = code[key[0]].index_select(0, src)
            total = torch.zeros_like(code[key[2]]).index_add(0, dst, sent)
            s_dict[key[2]] = s_dict[key[2]] + self.weight[position] * total / degree[:, None].sqrt()
        return s_dict


class HGT(nn.Module):
    """Embeds every node of a graph.

    Args:
        encoder: Gives the widths and vocabularies; its schema gives node and message types.
    """

    def __init__(self, encoder: FeatureEncoder, config: ModelConfig) -> None:
        super().__init__()
        schema = encoder.schema
        self.config = config
        self.node_types = [node.name for node in schema.nodes]
        self.message_types = message_types(schema)
        self.project = nn.ModuleDict(
            {
                name: NodeProjection(
                    encoder.numeric_width(name),
                    len(arriving_types(schema, name)),
                    encoder.cardinalities(name),
                    config.hidden,
                )
                for name in self.node_types
            }
        )
        self.sketch = Sketch(self.node_types, self.message_types, config.hidden)
        self.norm = nn.ModuleDict({name: nn.LayerNorm(config.hidden) for name in self.node_types})
        self.layers = nn.ModuleList(
            _layer(config, self.node_types, self.message_types) for _ in range(config.layers)
        )
        width = config.hidden * (config.layers + 1)
        self.out = nn.Linear(width, EMBEDDING_DIM)
        with torch.no_grad():
            self.out.weight.copy_(
                torch.eye(EMBEDDING_DIM, config.hidden).repeat(1, config.layers + 1)
            )
            self.out.bias.zero_()
        self.shift = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(EMBEDDING_DIM)) for name in self.node_types}
        )

    def states(self, inputs: Mapping[str, NodeInputs], messages: Messages) -> dict[str, Tensor]:
        """Output of every node before shift and normalisation. Shapes: [n, EMBEDDING_DIM]."""
        s_dict = self.sketch(inputs, messages.edge_index_dict)
        h_dict = {
            name: self.norm[name](
                self.project[name](inputs[name], messages.degree_dict[name]) + s_dict[name]
            )
            for name in self.node_types
        }
        states = [h_dict]
        for layer in self.layers:
            h_dict = attend(layer, h_dict, messages.edge_index_dict, self.message_types)
            states.append(h_dict)
        return {
            name: self.out(torch.cat([h[name] for h in states], dim=1)) for name in self.node_types
        }

    def forward(self, inputs: Mapping[str, NodeInputs], messages: Messages) -> dict[str, Tensor]:
        """L2-normalised embeddings of every node. Shapes: [n, EMBEDDING_DIM]."""
        states = self.states(inputs, messages)
        return {name: F.normalize(h + self.shift[name], dim=1) for name, h in states.items()}


def attend(
    layer: nn.Module,
    h_dict: dict[str, Tensor],
    edge_index_dict: Mapping[EdgeKey, Tensor],
    order: list[EdgeKey],
) -> dict[str, Tensor]:
    """One layer; a node type at which no message type ends keeps its state.

    HGTConv takes the order of ``edge_index_dict`` to be that of its metadata, and mixes up the
    relations' weights in silence where it is not: so the order is made here.
    """
    if not order:
        return h_dict
    out = layer(h_dict, {key: edge_index_dict[key] for key in order})
    return {name: h if out.get(name) is None else out[name] for name, h in h_dict.items()}


def _layer(config: ModelConfig, node_types: list[str], order: list[EdgeKey]) -> nn.Module:
    from torch_geometric.nn import HGTConv

    layer = HGTConv(config.hidden, config.hidden, (node_types, order), heads=config.heads)
    assert isinstance(layer, nn.Module)
    _start_as_average(layer, config.hidden, config.heads)
    return layer


@torch.no_grad()
def _start_as_average(layer: Any, hidden: int, heads: int) -> None:
    """Weights with which values pass unchanged and attention is near uniform.

    From random maps the shortest way to a smaller loss is to make all embeddings equal, and it
    does not come back from there. From averaging, neighbours are alike before the first step.
    """
    for lin in layer.kqv_lin.lins.values():
        lin.weight[: 2 * hidden].mul_(0.5)
        lin.weight[2 * hidden :].copy_(torch.eye(hidden))
        lin.bias.zero_()
    for lin in layer.out_lin.lins.values():
        lin.weight.copy_(torch.eye(hidden))
        lin.bias.zero_()
    width = hidden // heads
    layer.v_rel.weight.copy_(torch.eye(width).expand_as(layer.v_rel.weight))


def build_model(encoder: FeatureEncoder, config: ModelConfig, *, seed: int) -> HGT:
    """A model with seeded weights; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HGT(encoder, config)


def graph_inputs(
    encoder: FeatureEncoder, graph: Graph, device: str | torch.device = "cpu"
) -> dict[str, NodeInputs]:
    """Encoded features of every node of a graph.

    Raises:
        ValueError: if the graph has another schema than the encoder.
    """
    check_schema(encoder.schema, graph.schema)
    return {
        name: encoder.transform(name, graph.features[name], ids).to(device)
        for name, ids in graph.node_ids.items()
    }


def check_schema(expected: GraphSchema, got: GraphSchema) -> None:
    """Raises: ValueError if two schemas differ, by their hash."""
    if expected.hash != got.hash:
        raise ValueError(
            f"the graph has schema {got.hash[:12]}, the model was trained on {expected.hash[:12]}: "
            "train a model on this data, or refresh from a dataset with the model's schema"
        )


@torch.no_grad()
def center(model: HGT, inputs: Mapping[str, NodeInputs], messages: Messages) -> None:
    """Set each type's shift so that its embeddings begin around zero instead of around the mean
    of what everybody has in common."""
    for name, state in model.states(inputs, messages).items():
        model.shift[name].copy_(-state.mean(0))


@torch.no_grad()
def embed(model: HGT, encoder: FeatureEncoder, graph: Graph) -> dict[str, npt.NDArray[np.float32]]:
    """Embedding of every node from all of its edges, on the model's device.

    Shapes: [n, EMBEDDING_DIM] for each node type.
    """
    device = next(model.parameters()).device
    messages = build_messages(graph.schema, graph.num_nodes, pair_tensors(graph, device))
    model.eval()
    z_dict = model(graph_inputs(encoder, graph, device), messages)
    return {name: z.cpu().numpy() for name, z in z_dict.items()}

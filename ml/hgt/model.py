"""The heterogeneous graph transformer: project, attend, normalise.

Source: Hu et al., Heterogeneous Graph Transformer, WWW 2020 (arXiv 2003.01332).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.contracts.schema import GraphSchema
from ml.graph.adjacency import total
from ml.graph.ages import Ages, check_days
from ml.graph.graph import Graph
from ml.graph.message_types import MessageType, message_types
from ml.graph.messages import Messages, build_messages, pair_tensors
from ml.hgt.attention.neighbour_sums import gather_sum
from ml.hgt.encoders import CODE_BITS, FeatureEncoder, NodeInputs
from ml.hgt.layer import HGTLayer

EMBEDDING_DIM = 64
EDGE_AGES = (1.0, 7.0, 30.0, 90.0, 365.0)
"""Days at which a class of ages begins, where they play a part and nothing else is said."""


@dataclass(frozen=True)
class ModelConfig:
    """Size of the model: width of the states, attention heads, layers; and what it knows of time.

    Args:
        edge_ages: Where the age classes of edges after the first begin, in days, rising; empty:
            the age of an edge plays no part in the attention.

    Raises:
        ValueError: if the ages do not rise from above 0.
    """

    hidden: int = 64
    heads: int = 4
    layers: int = 2
    edge_ages: Sequence[float] = ()

    def __post_init__(self) -> None:
        check_days(self.edge_ages)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"edge_ages": list(self.edge_ages)}


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


class HGT(nn.Module):
    """Embeds every node of a graph.

    z_v = normalise(W [s_v, h0_v, h1_v, …, hL_v] + shift): s as in ``NeighbourhoodSum``, h0 from who
    the node is, h1 to hL by attention.

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
                    encoder.cardinalities(name),
                    encoder.slots(name),
                    config.hidden,
                )
                for name in self.node_types
            }
        )
        self.norm = nn.ModuleDict({name: nn.LayerNorm(config.hidden) for name in self.node_types})
        self.neighbourhood = NeighbourhoodSum(self.message_types, config.hidden)
        self.layers = nn.ModuleList(
            _layer(config, self.node_types, self.message_types) for _ in range(config.layers)
        )
        width = config.hidden * (config.layers + 2)
        self.out = nn.Linear(width, EMBEDDING_DIM)
        with torch.no_grad():
            self.out.weight.copy_(
                torch.eye(EMBEDDING_DIM, config.hidden).repeat(1, config.layers + 2)
            )
            self.out.bias.zero_()
        self.shift = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(EMBEDDING_DIM)) for name in self.node_types}
        )

    def ages(self, now: int) -> Ages | None:
        """Classes of ages as of ``now``, in seconds since 1970; None where ages play no part."""
        days = tuple(self.config.edge_ages)
        return Ages(days, now) if days else None

    def inputs(
        self, inputs: Mapping[str, NodeInputs]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Identity and first state of nodes, from who they are alone. Shapes: [n, hidden]."""
        identity_dict, h_dict = {}, {}
        for name, node_inputs in inputs.items():
            projection = self.project[name]
            assert isinstance(projection, NodeProjection)
            identity_dict[name] = projection.identity(node_inputs)
            h_dict[name] = self.norm[name](projection(node_inputs, identity_dict[name]))
        return identity_dict, h_dict

    def output(self, states: list[Tensor]) -> Tensor:
        """Neighbourhood and states of each layer to the embedding before shift and normalisation.

        Shapes: (layers + 2) x [n, hidden] → [n, EMBEDDING_DIM].
        """
        out: Tensor = self.out(torch.cat(states, dim=1))
        return out

    def finish(self, node_type: str, out: Tensor) -> Tensor:
        """Shapes: [n, EMBEDDING_DIM] → [n, EMBEDDING_DIM], of length one."""
        return F.normalize(out + self.shift[node_type], dim=1)

    def outputs(self, inputs: Mapping[str, NodeInputs], messages: Messages) -> dict[str, Tensor]:
        """Output of every node before shift and normalisation. Shapes: [n, EMBEDDING_DIM]."""
        identity_dict, h_dict = self.inputs(inputs)
        states = [self.neighbourhood(identity_dict, messages), h_dict]
        for layer in self.layers:
            h_dict = layer(h_dict, messages.adjacency)
            states.append(h_dict)
        return {name: self.output([h[name] for h in states]) for name in self.node_types}

    def forward(self, inputs: Mapping[str, NodeInputs], messages: Messages) -> dict[str, Tensor]:
        """L2-normalised embeddings of every node. Shapes: [n, EMBEDDING_DIM]."""
        outputs = self.outputs(inputs, messages)
        return {name: self.finish(name, out) for name, out in outputs.items()}


def _layer(config: ModelConfig, node_types: list[str], order: list[MessageType]) -> HGTLayer:
    layer = HGTLayer(config.hidden, config.heads, node_types, order, edge_ages=config.edge_ages)
    _start_as_average(layer, config.hidden, config.heads)
    return layer


@torch.no_grad()
def _start_as_average(layer: HGTLayer, hidden: int, heads: int) -> None:
    """Weights with which values pass unchanged and attention is near uniform.

    From random maps the shortest way to a smaller loss is to make all embeddings equal, and it
    does not come back from there. From averaging, neighbours are alike before the first step.
    """
    for lin in layer.kqv_lin.lins.values():
        assert isinstance(lin, nn.Linear)
        lin.weight[: 2 * hidden].mul_(0.5)
        lin.weight[2 * hidden :].copy_(torch.eye(hidden))
        lin.bias.zero_()
    for lin in layer.out_lin.lins.values():
        assert isinstance(lin, nn.Linear)
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
    for name, out in model.outputs(inputs, messages).items():
        model.shift[name].copy_(-out.mean(0))


@torch.no_grad()
def embed(
    model: HGT, encoder: FeatureEncoder, graph: Graph, *, now: int | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """Embedding of every node from all of its edges, on the model's device.

    Args:
        now: Ages of edges count back from here; None: from the latest event of the graph.

    Shapes: [n, EMBEDDING_DIM] for each node type.
    """
    device = next(model.parameters()).device
    ages = model.ages(graph.latest() if now is None else now)
    pairs = pair_tensors(graph, device, ages=ages)
    messages = build_messages(graph.schema, graph.num_nodes, pairs)
    model.eval()
    z_dict = model(graph_inputs(encoder, graph, device), messages)
    return {name: z.cpu().numpy() for name, z in z_dict.items()}

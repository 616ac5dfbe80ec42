"""The heterogeneous graph transformer: project, sum, attend, join, normalise.

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
from ml.graph.ages import Ages, check_days
from ml.graph.graph import Graph
from ml.graph.message_types import MessageType, message_types
from ml.graph.messages import Messages, build_messages, pair_tensors
from ml.hgt.encoders import FeatureEncoder, NodeInputs
from ml.hgt.layer import HGTLayer
from ml.hgt.projection import NeighbourhoodSum, NodeProjection

EMBEDDING_DIM = 64
EDGE_AGES = (1.0, 7.0, 30.0, 90.0, 365.0)
"""Days at which a class of ages begins, where they play a part and nothing else is said."""


@dataclass(frozen=True)
class ModelConfig:
    """Size of the model: width of the states, attention heads, layers; and what it knows of time.

    Args:
        edge_ages: Where the age classes of edges after the first begin, in days, ascending; empty:
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


class HGT(nn.Module):
    """Embeds every node of a graph.

    z_v = normalise(W [s_v, h0_v, h1_v, …, hL_v] + b + shift): s as in ``NeighbourhoodSum``, h0 from
    who the node is, h1 to hL by attention.

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

    def forward(self, inputs: Mapping[str, NodeInputs], messages: Messages) -> dict[str, Tensor]:
        """L2-normalised embeddings of every node. Shapes: [n, EMBEDDING_DIM]."""
        outputs = self.outputs(inputs, messages)
        return {name: self.finish(name, out) for name, out in outputs.items()}

    def outputs(self, inputs: Mapping[str, NodeInputs], messages: Messages) -> dict[str, Tensor]:
        """Output of every node before shift and normalisation. Shapes: [n, EMBEDDING_DIM]."""
        # Who a node is
        identity_dict, h_dict = self.input_states(inputs)
        # Who its neighbours are
        states = [self.neighbourhood(identity_dict, messages), h_dict]
        # What comes to it over one edge, over two, …
        for layer in self.layers:
            h_dict = layer(h_dict, messages.adjacency)
            states.append(h_dict)
        # All of it in one vector
        return {name: self.output([h[name] for h in states]) for name in self.node_types}

    def input_states(
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
        """Shift and normalise. Shapes: [n, EMBEDDING_DIM] → [n, EMBEDDING_DIM], of length one."""
        return F.normalize(out + self.shift[node_type], dim=1)

    def ages(self, now: int) -> Ages | None:
        """Classes of ages as of ``now``, in seconds since 1970; None where ages play no part."""
        days = tuple(self.config.edge_ages)
        return Ages(days, now) if days else None


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

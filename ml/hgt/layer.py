"""One layer of the heterogeneous graph transformer, as PyG's HGTConv but without edge tensors.

Source: Hu et al., Heterogeneous Graph Transformer, WWW 2020 (arXiv 2003.01332).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.graph.adjacency import Adjacency, SparseRows
from ml.graph.message_types import UNKNOWN_AGE, MessageSender, MessageType, all_ages, names
from ml.hgt.attention import chunked
from ml.hgt.attention.attend import BackendName, attend, backend_for
from ml.hgt.attention.partials import Backend, RelationMaps
from ml.hgt.attention.row_attention import (
    RowMaps,
    RowSoftmax,
    attend_rows,
    attend_sources,
    each_once,
    row_maps,
)
from ml.hgt.parameters import LinearByNodeType, RelationWeights, message_key, node_type_key
from ml.hgt.time_encoding import TimeEncoding


class HGTLayer(nn.Module):
    """Attention over all in-edges of a node, then a gated residual connection.

    The parameters have the names and shapes of ``torch_geometric.nn.HGTConv`` with equal widths of
    input and output, so that state dicts go both ways.

    Args:
        order: Message types in the order of the parameters.
        edge_ages: See ``ml.hgt.model.ModelConfig``; edges then come by the age classes of their
            message types.
        backend: See ``ml.hgt.attention.attend.backend_for``.

    Raises:
        ValueError: if the width is no multiple of the heads, or a message type names a node type
            that is not there.
    """

    def __init__(
        self,
        hidden: int,
        heads: int,
        node_types: Sequence[str],
        order: Sequence[MessageType],
        *,
        edge_ages: Sequence[float] = (),
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden is {hidden}, expected a multiple of the {heads} heads")
        ends = {end for message in order for end in (message.source, message.target)}
        if unknown := ends - set(node_types):
            raise ValueError(f"message types name {sorted(unknown)}, expected {list(node_types)}")
        self.hidden, self.heads, self.backend = hidden, heads, backend
        self.node_types, self.order = tuple(node_types), tuple(order)
        self.time = TimeEncoding(edge_ages, hidden) if edge_ages else None
        classes = len(edge_ages) + 1 if edge_ages else 0
        self.types = tuple(one for message in self.order for one in all_ages(message, classes))
        self._cached_row_maps: dict[str, tuple[Any, RowMaps]] = {}
        width = hidden // heads
        self.kqv_lin = LinearByNodeType(self.node_types, hidden, 3 * hidden)
        self.out_lin = LinearByNodeType(self.node_types, hidden, hidden)
        self.k_rel = RelationWeights(heads * len(self.order), width)
        self.v_rel = RelationWeights(heads * len(self.order), width)
        self.skip = nn.ParameterDict(
            {node_type_key(name): nn.Parameter(torch.ones(1)) for name in self.node_types}
        )
        self.p_rel = nn.ParameterDict(
            {message_key(message): nn.Parameter(torch.ones(1, heads)) for message in self.order}
        )

    def forward(self, h_dict: Mapping[str, Tensor], adjacency: Adjacency) -> dict[str, Tensor]:
        """New states; a node type at which no message type of the layer ends keeps its states.

        Shapes: [n, hidden] → [n, hidden].

        Raises:
            ValueError: if the states do not fit the nodes of the adjacency, or that has a message
                type that the layer does not know.
        """
        self._check(h_dict, adjacency)
        targets = {message.target for message in self.order}
        if not targets:
            return dict(h_dict)
        messages = tuple(message for message in self.types if message in adjacency.relations)
        q_dict = {name: self._project(name, h_dict[name], 1) for name in sorted(targets)}
        table_dict = self._tables(h_dict, messages)
        maps = self._relation_maps(messages)
        out_dict = attend(q_dict, table_dict, maps, adjacency, messages, backend=self.backend)
        return {
            name: self._update(name, h, out_dict[name]) if name in targets else h
            for name, h in h_dict.items()
        }

    @torch.no_grad()
    def forward_rows(
        self,
        node_type: str,
        h_own: Tensor,
        h_dict: Mapping[str, Tensor],
        edges: Mapping[MessageType, SparseRows],
        *,
        tables: Mapping[MessageSender, Tensor] | None = None,
        partial: RowSoftmax | None = None,
    ) -> Tensor:
        """The layer for some rows of one node type, which need not be nodes; without gradients.

        The maps made for it are kept until a parameter changes (through torch, not ``.data``).

        Args:
            h_own: Their own states. Shape: [R, hidden].
            h_dict: States of all nodes of the types that messages come from. Shapes: [n, hidden].
            edges: In-edges by message type: ``index`` in [0, R), ``other`` nodes of the source
                type. Types left out have no edges.
            tables: Of ``project_sources``: worth it from about a fifth of the nodes on.
            partial: What has arrived before ``edges``, which are added to it in place (compiled).

        Shapes: [R, hidden].

        Raises:
            ValueError: on a message type that does not end at ``node_type``.
        """
        order = self.arriving(node_type)
        if unknown := set(edges) - set(order):
            raise ValueError(
                f"message types {names(sorted(unknown))} given for {node_type!r}, expected some of "
                f"{names(order)}"
            )
        if not order:
            return h_own
        q = self._project(node_type, h_own, 1)
        edges = {
            message: each_once(rows, len(q)) for message, rows in edges.items() if rows.num_edges
        }
        backend = backend_for(self.backend, h_own)
        if tables is not None:
            by_message = {
                message: (tables[message.sender], rows) for message, rows in edges.items()
            }
            out = self._attend_sources(q, by_message, backend)
        elif backend is chunked and partial is None:
            out = self._attend_distinct(q, h_dict, edges, backend)
        else:
            out = attend_rows(q, h_dict, edges, self._row_maps(node_type, order), partial)
        return self._update(node_type, h_own, out)

    @torch.no_grad()
    def project_sources(self, h_dict: Mapping[str, Tensor]) -> dict[MessageSender, Tensor]:
        """Keys and values of all nodes, for ``forward_rows``. Shapes: [n, 2·hidden]."""
        return self._tables(h_dict, self.types)

    def arriving(self, node_type: str) -> tuple[MessageType, ...]:
        """Message types that end at a node type, in each of their age classes."""
        return tuple(message for message in self.types if message.target == node_type)

    # Project

    def _project(self, name: str, h: Tensor, *parts: int) -> Tensor:
        """Some of keys (0), queries (1) and values (2) of a node type, beside each other."""
        lin = self.kqv_lin[name]
        weight, bias = lin.weight.chunk(3), lin.bias.chunk(3)
        return F.linear(
            h, torch.cat([weight[p] for p in parts]), torch.cat([bias[p] for p in parts])
        )

    def _tables(
        self, h_dict: Mapping[str, Tensor], messages: Sequence[MessageType]
    ) -> dict[MessageSender, Tensor]:
        """Keys and values of all nodes by the senders of ``messages``. Shapes: [n, 2·hidden]."""
        sources = sorted({message.source for message in messages})
        tables = {MessageSender(name): self._project(name, h_dict[name], 0, 2) for name in sources}
        for message in messages:
            if message.sender not in tables:
                table = tables[MessageSender(message.source)]
                tables[message.sender] = self._shifted(table, message)
        return tables

    def _shifted(self, table: Tensor, message: MessageType) -> Tensor:
        """Keys and values as edges of an age see them. Shapes: [n, 2·hidden] → [n, 2·hidden]."""
        if message.age == UNKNOWN_AGE:
            return table
        return table + torch.cat(self._age_shift(message))

    def _age_shift(self, message: MessageType) -> tuple[Tensor, Tensor]:
        """What the age of its edges adds to keys and values of a message type. Shapes: [hidden]."""
        weight_k, _, weight_v = self.kqv_lin[message.source].weight.chunk(3)
        if self.time is None or message.age == UNKNOWN_AGE:
            return weight_k.new_zeros(self.hidden), weight_v.new_zeros(self.hidden)
        encoding = self.time()[message.age]
        return weight_k @ encoding, weight_v @ encoding

    def _relation_maps(self, messages: Sequence[MessageType]) -> RelationMaps:
        """Maps of message types, with what scales their scores in those of the keys."""
        indices = [self.order.index(message.ageless) for message in messages]
        width = self.hidden // self.heads
        shape = (self.heads, len(self.order), width, width)
        k, v = (rel.weight.view(shape).transpose(0, 1) for rel in (self.k_rel, self.v_rel))
        p = torch.stack([self.p_rel[message_key(message)] for message in self.order])
        scaled = k * (p.view(-1, self.heads, 1, 1) / width**0.5)
        return RelationMaps(scaled[indices], v[indices])

    # Attend, for some rows

    def _attend_distinct(
        self,
        q: Tensor,
        h_dict: Mapping[str, Tensor],
        edges: Mapping[MessageType, SparseRows],
        backend: Backend,
    ) -> Tensor:
        """With keys and values of the sources that occur, each once."""
        tables = {}
        for message, rows in edges.items():
            distinct, other = torch.unique(rows.other, return_inverse=True)
            h = h_dict[message.source].index_select(0, distinct)
            table = self._shifted(self._project(message.source, h, 0, 2), message)
            tables[message] = table, SparseRows(rows.index, rows.start, other.int())
        return self._attend_sources(q, tables, backend)

    def _attend_sources(
        self, q: Tensor, tables: Mapping[MessageType, tuple[Tensor, SparseRows]], backend: Backend
    ) -> Tensor:
        maps = self._relation_maps(list(tables))
        by_message = {
            message: RelationMaps(k, v)
            for message, k, v in zip(tables, maps.k, maps.v, strict=True)
        }
        return attend_sources(q, tables, by_message, self.heads, backend)

    def _row_maps(self, node_type: str, order: tuple[MessageType, ...]) -> RowMaps:
        """The maps of ``attend_rows``, made anew where a parameter has changed."""
        versions = tuple((p.data_ptr(), p._version) for p in self.parameters())
        if self._cached_row_maps.get(node_type, (None,))[0] != versions:
            keys, values = zip(*(self._augmented(message) for message in order), strict=True)
            maps = row_maps(order, self._relation_maps(order), list(keys), list(values))
            self._cached_row_maps[node_type] = (versions, maps)
        return self._cached_row_maps[node_type][1]

    def _augmented(self, message: MessageType) -> tuple[Tensor, Tensor]:
        """Weight and bias beside each other of the keys and of the values of a message type."""
        lin, (shift_k, shift_v) = self.kqv_lin[message.source], self._age_shift(message)
        (weight_k, _, weight_v), (bias_k, _, bias_v) = lin.weight.chunk(3), lin.bias.chunk(3)
        return (
            torch.cat([weight_k, (bias_k + shift_k)[:, None]], dim=1),
            torch.cat([weight_v, (bias_v + shift_v)[:, None]], dim=1),
        )

    # Update

    def _update(self, name: str, h: Tensor, out: Tensor) -> Tensor:
        """The gated residual connection of a node type. Shapes: [n, hidden] → [n, hidden]."""
        share = self.skip[node_type_key(name)].sigmoid()
        return torch.lerp(h, self.out_lin[name](F.gelu(out)), share)

    def _check(self, h_dict: Mapping[str, Tensor], adjacency: Adjacency) -> None:
        if unknown := set(adjacency.relations) - set(self.types):
            raise ValueError(
                f"message types {names(sorted(unknown))}, expected some of {names(self.types)}"
            )
        for name in self.node_types:
            expected = (adjacency.num_nodes[name], self.hidden)
            if tuple(h_dict[name].shape) != expected:
                raise ValueError(
                    f"states of {name!r} have shape {tuple(h_dict[name].shape)}, "
                    f"expected {expected}"
                )

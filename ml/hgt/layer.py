"""One layer of the heterogeneous graph transformer, as PyG's HGTConv but without edge tensors.

Source: Hu et al., Heterogeneous Graph Transformer, WWW 2020 (arXiv 2003.01332).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.contracts.schema import EdgeKey
from ml.graph.adjacency import Adjacency, Rows
from ml.graph.ages import UNKNOWN, age_of, ageless, all_ages
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
from ml.hgt.time_encoding import TimeEncoding, by_sender, sender


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
        order: Sequence[EdgeKey],
        *,
        edge_ages: Sequence[float] = (),
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden is {hidden}, expected a multiple of the {heads} heads")
        unknown = {end for key in order for end in (key[0], key[2])} - set(node_types)
        if unknown:
            raise ValueError(f"message types name {sorted(unknown)}, expected {list(node_types)}")
        self.hidden, self.heads, self.backend = hidden, heads, backend
        self.node_types, self.order = tuple(node_types), tuple(order)
        self.time = TimeEncoding(edge_ages, hidden) if edge_ages else None
        classes = len(edge_ages) + 1 if edge_ages else 0
        self.types = tuple(one for key in self.order for one in all_ages(key, classes))
        self._cached_row_maps: dict[str, tuple[Any, RowMaps]] = {}
        width = hidden // heads
        self.kqv_lin = _LinearByNodeType(self.node_types, hidden, 3 * hidden)
        self.out_lin = _LinearByNodeType(self.node_types, hidden, hidden)
        self.k_rel = _RelationWeights(heads * len(self.order), width)
        self.v_rel = _RelationWeights(heads * len(self.order), width)
        self.skip = nn.ParameterDict(
            {_key(name, nn.ParameterDict): nn.Parameter(torch.ones(1)) for name in self.node_types}
        )
        self.p_rel = nn.ParameterDict(
            {_key("__".join(key), nn.ParameterDict): nn.Parameter(torch.ones(1, heads))
             for key in self.order}
        )  # fmt: skip

    def forward(self, h_dict: Mapping[str, Tensor], adjacency: Adjacency) -> dict[str, Tensor]:
        """New states; a node type at which no message type of the layer ends keeps its states.

        Shapes: [n, hidden] → [n, hidden].

        Raises:
            ValueError: if the states do not fit the nodes of the adjacency, or that has a message
                type that the layer does not know.
        """
        self._check(h_dict, adjacency)
        targets = {key[2] for key in self.order}
        if not targets:
            return dict(h_dict)
        q_dict = {name: self._project(name, h_dict[name], 1) for name in sorted(targets)}
        keys = [key for key in self.types if key in adjacency.relations]
        table_dict = self._tables(h_dict, keys)
        edges, named = by_sender(adjacency, keys)
        maps = self._relation_maps(keys)
        out = attend(q_dict, table_dict, maps, edges, tuple(named), backend=self.backend)
        return {
            name: self._finish(name, h, out[name]) if name in targets else h
            for name, h in h_dict.items()
        }

    @torch.no_grad()
    def forward_rows(
        self,
        node_type: str,
        h_own: Tensor,
        h_dict: Mapping[str, Tensor],
        edges: Mapping[EdgeKey, Rows],
        *,
        tables: Mapping[str, Tensor] | None = None,
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
        unknown = set(edges) - set(order)
        if unknown:
            raise ValueError(
                f"message types {sorted(unknown)} given for {node_type!r}, expected some of {order}"
            )
        if not order:
            return h_own
        q = self._project(node_type, h_own, 1)
        edges = {key: each_once(rows, len(q)) for key, rows in edges.items() if rows.num_edges}
        backend = backend_for(self.backend, h_own)
        if tables is not None:
            given = {key: (tables[sender(key)], rows) for key, rows in edges.items()}
            out = self._attend_sources(q, given, backend)
        elif backend is chunked and partial is None:
            out = self._attend_distinct(q, h_dict, edges, backend)
        else:
            out = attend_rows(q, h_dict, edges, self._row_maps(node_type, order), partial)
        return self._finish(node_type, h_own, out)

    @torch.no_grad()
    def project_sources(self, h_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Keys and values of all nodes, for ``forward_rows``. Shapes: [n, 2·hidden]."""
        return self._tables(h_dict, self.types)

    def arriving(self, node_type: str) -> tuple[EdgeKey, ...]:
        """Message types that end at a node type, in each of their age classes."""
        return tuple(key for key in self.types if key[2] == node_type)

    def _tables(self, h_dict: Mapping[str, Tensor], keys: Sequence[EdgeKey]) -> dict[str, Tensor]:
        """Keys and values of all nodes by the senders of ``keys``. Shapes: [n, 2·hidden]."""
        sources = sorted({key[0] for key in keys})
        tables = {name: self._project(name, h_dict[name], 0, 2) for name in sources}
        for key in keys:
            if sender(key) not in tables:
                tables[sender(key)] = self._shifted(tables[key[0]], key)
        return tables

    def _shifted(self, table: Tensor, key: EdgeKey) -> Tensor:
        """Keys and values as edges of an age see them. Shapes: [n, 2·hidden] → [n, 2·hidden]."""
        return table if age_of(key) == UNKNOWN else table + torch.cat(self._shift(key))

    def _shift(self, key: EdgeKey) -> tuple[Tensor, Tensor]:
        """What the age of its edges adds to keys and values of a message type. Shapes: [hidden]."""
        weight_k, _, weight_v = self.kqv_lin[key[0]].weight.chunk(3)
        if self.time is None or age_of(key) == UNKNOWN:
            return weight_k.new_zeros(self.hidden), weight_v.new_zeros(self.hidden)
        encoding = self.time()[age_of(key)]
        return weight_k @ encoding, weight_v @ encoding

    def _attend_distinct(
        self,
        q: Tensor,
        h_dict: Mapping[str, Tensor],
        edges: Mapping[EdgeKey, Rows],
        backend: Backend,
    ) -> Tensor:
        tables = {}
        for key, rows in edges.items():
            distinct, other = torch.unique(rows.other, return_inverse=True)
            table = self._project(key[0], h_dict[key[0]].index_select(0, distinct), 0, 2)
            tables[key] = (
                self._shifted(table, key), Rows(rows.index, rows.start, other.int())
            )  # fmt: skip
        return self._attend_sources(q, tables, backend)

    def _attend_sources(
        self, q: Tensor, tables: Mapping[EdgeKey, tuple[Tensor, Rows]], backend: Backend
    ) -> Tensor:
        maps = self._relation_maps(list(tables))
        maps_by_type = {
            key: RelationMaps(k, v) for key, k, v in zip(tables, maps.k, maps.v, strict=True)
        }
        return attend_sources(q, tables, maps_by_type, self.heads, backend)

    def _row_maps(self, node_type: str, order: tuple[EdgeKey, ...]) -> RowMaps:
        state = tuple((p.data_ptr(), p._version) for p in self.parameters())
        if self._cached_row_maps.get(node_type, (None,))[0] != state:
            keys, values = zip(*(self._augmented(key) for key in order), strict=True)
            maps = row_maps(order, self._relation_maps(order), list(keys), list(values))
            self._cached_row_maps[node_type] = (state, maps)
        return self._cached_row_maps[node_type][1]

    def _augmented(self, key: EdgeKey) -> tuple[Tensor, Tensor]:
        """Weight and bias beside each other of the keys and of the values of a message type."""
        lin, (shift_k, shift_v) = self.kqv_lin[key[0]], self._shift(key)
        (weight_k, _, weight_v), (bias_k, _, bias_v) = lin.weight.chunk(3), lin.bias.chunk(3)
        return (
            torch.cat([weight_k, (bias_k + shift_k)[:, None]], dim=1),
            torch.cat([weight_v, (bias_v + shift_v)[:, None]], dim=1),
        )

    def _project(self, name: str, h: Tensor, *parts: int) -> Tensor:
        """Some of keys (0), queries (1) and values (2) of a node type, beside each other."""
        lin = self.kqv_lin[name]
        weight, bias = lin.weight.chunk(3), lin.bias.chunk(3)
        return F.linear(
            h, torch.cat([weight[p] for p in parts]), torch.cat([bias[p] for p in parts])
        )

    def _relation_maps(self, keys: Sequence[EdgeKey]) -> RelationMaps:
        """Maps of message types, with what scales their scores in those of the keys."""
        places = [self.order.index(ageless(key)) for key in keys]
        width = self.hidden // self.heads
        shape = (self.heads, len(self.order), width, width)
        k, v = (rel.weight.view(shape).transpose(0, 1) for rel in (self.k_rel, self.v_rel))
        p = torch.stack([self.p_rel[_key("__".join(key), nn.ParameterDict)] for key in self.order])
        scaled = k * (p.view(-1, self.heads, 1, 1) / width**0.5)
        return RelationMaps(scaled[places], v[places])

    def _finish(self, name: str, h: Tensor, out: Tensor) -> Tensor:
        share = self.skip[_key(name, nn.ParameterDict)].sigmoid()
        return torch.lerp(h, self.out_lin[name](F.gelu(out)), share)

    def _check(self, h_dict: Mapping[str, Tensor], adjacency: Adjacency) -> None:
        unknown = set(adjacency.relations) - set(self.types)
        if unknown:
            raise ValueError(f"message types {sorted(unknown)}, expected some of {self.types}")
        for name in self.node_types:
            expected = (adjacency.num_nodes[name], self.hidden)
            if tuple(h_dict[name].shape) != expected:
                raise ValueError(
                    f"states of {name!r} have shape {tuple(h_dict[name].shape)}, "
                    f"expected {expected}"
                )


class _LinearByNodeType(nn.Module):
    """A linear map for each node type."""

    def __init__(self, names: Sequence[str], columns_in: int, columns_out: int) -> None:
        super().__init__()
        self.lins = nn.ModuleDict(
            {_key(name, nn.ModuleDict): nn.Linear(columns_in, columns_out) for name in names}
        )

    def __getitem__(self, name: str) -> nn.Linear:
        lin = self.lins[_key(name, nn.ModuleDict)]
        assert isinstance(lin, nn.Linear)
        return lin


class _RelationWeights(nn.Module):
    """A square matrix for each head and message type, in this order. Shape: [H·T, D, D]."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(count, width, width).uniform_(-bound, bound))


def _key(name: str, kind: type[nn.Module]) -> str:
    """A name as PyG writes it in state dicts: no dots, and no name of the container's own."""
    return (f"<{name}>" if hasattr(kind, name) else name).replace(".", "#")

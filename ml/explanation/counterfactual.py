"""One user's embedding from a part of the evidence: counterfactual rows through the network.

A row has some of the user's in-edges, and its attributes and id or neither; the states of its
neighbours are those of the whole graph and are held fixed, so what the user did to the neighbours
stays in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from ml.contracts.schema import USER
from ml.explanation.neighbourhood import UserNeighbourhood
from ml.explanation.players import Kinds
from ml.explanation.shapley import Coalitions
from ml.fusion.evidence import Matrix
from ml.graph.message_types import MessageType
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import HGT
from ml.hgt.row_embedding import NodeStates, RowEdges, embed_rows, input_rows

BLOCK_EDGES = 2_000_000
"""In-edges of the rows of one forward pass."""

Masks = Mapping[MessageType, npt.NDArray[np.bool_]]
"""Which in-edges each row has, by message type. Shapes: [R, edges]."""


@dataclass(frozen=True)
class CounterfactualUser:
    """A user of a graph whose evidence can be taken away.

    Args:
        states: Of the neighbours.
        own_state: Input state with the user's attributes. Shape: [1, hidden].
        anonymous_state: Input state of a user of whom nothing is known. Shape: [1, hidden].
        kind_of: Kind of evidence of each message type.
    """

    model: HGT
    states: NodeStates
    neighbourhood: UserNeighbourhood
    own_state: Tensor
    anonymous_state: Tensor
    kind_of: Mapping[MessageType, int]

    def embed(self, coalitions: Coalitions) -> Matrix:
        """With the attributes (column 0) and the events of some types. Shapes: [C, K] → [C, D]."""
        masks = {
            message: np.broadcast_to(
                coalitions[:, self.kind_of[message], None], (len(coalitions), len(sources))
            )
            for message, sources in self.neighbourhood.sources.items()
        }
        return self.rows(coalitions[:, 0], masks)

    def rows(self, attributes: npt.NDArray[np.bool_], masks: Masks) -> Matrix:
        """Rows with chosen in-edges, in as few forward passes as memory allows.

        Args:
            attributes: Whether a row has the user's attributes. Shape: [R].
        """
        size = max(1, BLOCK_EDGES // max(1, self.neighbourhood.num_edges))
        parts = []
        for first in range(0, len(attributes), size):
            chosen = slice(first, first + size)
            has = torch.from_numpy(attributes[chosen].copy())[:, None].to(self.own_state.device)
            edges = self._edges({message: mask[chosen] for message, mask in masks.items()})
            h0 = torch.where(has, self.own_state, self.anonymous_state)
            z = embed_rows(self.model, self.states, USER, h0, edges)
            parts.append(z.cpu().numpy())
        return np.concatenate(parts).astype(np.float32)

    def _edges(self, masks: Masks) -> RowEdges:
        start, source = {}, {}
        for ageless, message, own in self._by_age:
            mask = masks[ageless][:, own]
            count = np.concatenate([[0], np.cumsum(mask.sum(1, dtype=np.int64))])
            chosen = self.neighbourhood.sources[ageless][own][np.nonzero(mask)[1]]
            device = self.own_state.device
            start[message] = torch.from_numpy(count).to(device)
            source[message] = torch.from_numpy(chosen).to(device)
        return RowEdges(start=start, source=source)

    @cached_property
    def _by_age(self) -> list[tuple[MessageType, MessageType, npt.NDArray[np.intp] | slice]]:
        """Message types, their age classes, and which of the in-edges are of each."""
        if not self.model.config.edge_ages:
            return [(message, message, slice(None)) for message in self.neighbourhood.sources]
        return [
            (message, message.of_age(age), np.flatnonzero(ages == age))
            for message, ages in self.neighbourhood.ages.items()
            for age in np.unique(ages).tolist()
        ]


@torch.no_grad()
def counterfactual_user(
    model: HGT,
    encoder: FeatureEncoder,
    states: NodeStates,
    neighbourhood: UserNeighbourhood,
    frame: pl.DataFrame,
) -> CounterfactualUser:
    """A user with the attributes of a profile frame.

    Args:
        frame: ``user_id`` and the features of users, one row.
    """
    features = frame.select(feature.name for feature in encoder.schema.user.features)
    own_state = input_rows(model, encoder, USER, features, frame["user_id"].to_list())
    anonymous_state = encode_anonymous(model, encoder, features)
    kind_of = Kinds.of(encoder.schema).of_messages(encoder.schema)
    return CounterfactualUser(model, states, neighbourhood, own_state, anonymous_state, kind_of)


@torch.no_grad()
def encode_anonymous(model: HGT, encoder: FeatureEncoder, features: pl.DataFrame) -> Tensor:
    """Input state of a user of whom nothing is known: no attribute, and no id.

    The id goes too, because its vector was learned from the user's events, and its code would
    give each user another state to begin from. Shape: [1, hidden].

    Args:
        features: Any rows; the columns count.
    """
    inputs = encoder.transform(USER, features.clear(1), [""])
    unnamed = replace(
        inputs, code=torch.zeros_like(inputs.code), slot=torch.zeros_like(inputs.slot)
    )
    _, h_dict = model.input_states({USER: unnamed.to(next(model.parameters()).device)})
    return h_dict[USER]

"""What each step of an epoch supervises: pairs of every edge type, and the nodes they need.

In folds: an epoch has every pair in one random order; a step supervises, of one window of it, the
pairs of one fold, while the pairs of the other folds carry the messages. In time: a step
supervises pairs of one window of time, and the pairs from before it carry the messages. Nothing is
drawn beforehand: order and folds are hashes of the epoch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.hashing import join, key_of, permuted_all
from ml.compute.searching import lower_bound_in_order
from ml.contracts.schema import EdgeKey
from ml.graph.graph import UNKNOWN_TIME
from ml.graph.sampler import Sampler, View
from ml.graph.sampling_kernels import pairs_at
from ml.graph.structure import Links, Structure
from ml.hgt.training.losses import FULL_SOFTMAX

Array = npt.NDArray[Any]
SAMPLED_TIMES = 100_000


@dataclass(frozen=True)
class TrainingBatch:
    """What a step is about.

    Args:
        pairs: Supervised pairs by edge type. Shapes: [2, B].
        seeds: Nodes whose embeddings the loss needs, by node type, ascending.
        view: Which edges carry messages.
    """

    pairs: Mapping[EdgeKey, Array]
    seeds: Mapping[str, Array]
    view: View


@dataclass(frozen=True)
class BatchPlan:
    """Batches of a run; the same numbers give the same batch, on any process.

    Args:
        size: About so many pairs of an edge type in a step.
        max_steps: An epoch ends after so many steps; None: when each pair of the largest edge type
            has had its turn.
        temporal: Whether edge types with times are supervised in time.
    """

    structure: Structure
    seed: int
    folds: int
    size: int
    max_steps: int | None = None
    temporal: bool = False

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        largest = max((self._windows(links) for links in self.structure.links.values()), default=1)
        steps = self.folds * largest
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def _windows(self, links: Links) -> int:
        return max(1, math.ceil(links.num_pairs / (self.folds * self.size)))

    def batch(self, sampler: Sampler, epoch: int, step: int) -> TrainingBatch:
        """Pairs, seeds and view of one step."""
        folding_key = key_of(self.seed, epoch)
        view = View(
            sampling_key=key_of(self.seed, epoch, step), folding_key=folding_key, folds=self.folds,
            part=step % self.folds,
        )  # fmt: skip
        if not self.temporal:
            pairs = {key: self._of_fold(sampler, key, view, step) for key in self.structure.links}
            return TrainingBatch(pairs, self._seeds(pairs), view)
        # The first window of time has nothing before it: its pairs carry messages alone.
        window = 1 + int(permuted_all(np.array([step]), len(self._bounds) - 2, folding_key)[0])
        low, high = self._bounds[window], self._bounds[window + 1]
        view = View(view.sampling_key, folding_key, self.folds, view.part, int(low))
        pairs = {
            key: self._of_fold(sampler, key, view, step)
            if links.order is None
            else self._of_time(links, int(low), int(high), view.sampling_key)
            for key, links in self.structure.links.items()
        }
        return TrainingBatch(pairs, self._seeds(pairs), view)

    def _of_fold(self, sampler: Sampler, key: EdgeKey, view: View, step: int) -> Array:
        links = self.structure.links[key]
        windows = self._windows(links)
        width = math.ceil(links.num_pairs / windows)
        low = (step // self.folds) % windows * width
        high = min(low + width, links.num_pairs)
        return sampler.supervised(key, low, high, view, shuffle=windows > 1)

    def _of_time(self, links: Links, low: int, high: int, key: np.uint64) -> Array:
        """At most ``size`` pairs whose first event is in [low, high)."""
        side = links.early_by_source
        assert side is not None
        assert links.order is not None
        first, last = (lower_bound_in_order(side.time, links.order, bound) for bound in (low, high))
        chosen = np.arange(min(last - first, self.size))
        if last - first > self.size:
            chosen = permuted_all(chosen, last - first, np.uint64(join(key, 1)))
        source, target = pairs_at(side.start, side.other, links.order[first + chosen])
        return np.stack([source, target])

    @cached_property
    def _bounds(self) -> Array:
        """Times that cut the timed pairs into equal parts: one more than there are steps."""
        sampled = []
        for links in self.structure.links.values():
            if links.order is not None and links.early_by_source is not None:
                step = max(1, links.num_pairs // SAMPLED_TIMES)
                times = links.early_by_source.time[links.order[::step]]
                sampled.append(np.repeat(times[times > UNKNOWN_TIME], step))
        times = np.sort(np.concatenate([np.zeros(0, np.int64), *sampled]))
        if not len(times):
            return np.zeros(self.steps + 2, np.int64)
        indices = np.linspace(0, len(times) - 1, self.steps + 2).astype(np.int64)
        bounds = times[indices]
        bounds[-1] += 1
        return bounds

    @cached_property
    def known_nodes(self) -> dict[str, Array]:
        """Nodes by type, ascending, without those of the future: who learned that nothing happens
        to them would have seen it."""
        return {name: self.structure.known_nodes(name) for name in self.structure.num_nodes}

    def _seeds(self, pairs: Mapping[EdgeKey, Array]) -> dict[str, Array]:
        """Ends of the pairs; of types that are ranked whole, all that are known."""
        needed: dict[str, list[Array]] = {name: [] for name in self.structure.num_nodes}
        for (source, _, target), (src, dst) in pairs.items():
            if len(src):
                needed[source].append(src)
                needed[target].append(dst)
        seeds = {}
        for name, known in self.known_nodes.items():
            if needed[name] and len(known) <= FULL_SOFTMAX:
                seeds[name] = known
            else:
                seeds[name] = np.unique(np.concatenate([np.empty(0, np.int64), *needed[name]]))
        return seeds

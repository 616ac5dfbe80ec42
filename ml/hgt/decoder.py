"""From embeddings to the score of a link: six readable weights for each edge type."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from ml.contracts.schema import EdgeKey, EdgeType
from ml.evaluation.baselines import EaseConfig, ease, incidence, item_knn
from ml.evaluation.metrics import Floats, Ints, Neighbours, Scorer
from ml.graph.graph import UNKNOWN_TIME, Edges, Graph, Pairs, distinct_pairs
from ml.graph.splits import AT_RANDOM, Split

Embeddings = Mapping[str, npt.NDArray[np.float32]]

QUERIES = 1000
CANDIDATES = 4096
SHORT_TERM = 0.05
"""Share of the time that the train part spans that counts as lately."""


@dataclass(frozen=True)
class LinkWeights:
    """Score of a pair: the sum of these times what they are of.

    Args:
        similarity: cos(z_src, z_dst) of the two embeddings.
        popularity: log(1 + n), n sources had the target.
        memory: log(1 + n), n events of this type were between the two.
        company: how well the target goes with all that the source had, by who else had them: a
            linear regression on these (EASE), or, with too many targets for one, log(1 + s), s
            their summed cosine similarity.
        trend: log(1 + n), n the events at the target lately, an older one counting less.
        recency: exp(-t), t the time since the last event of the pair, in units of lately.
    """

    similarity: float
    popularity: float = 0.0
    memory: float = 0.0
    company: float = 0.0
    trend: float = 0.0
    recency: float = 0.0


@dataclass(frozen=True)
class Decoder:
    """Link weights by name of the edge type.

    Args:
        lately: Seconds after which an event counts a third for trend and recency; None in data
            without times, where both are zero.
    """

    weights: Mapping[str, LinkWeights]
    lately: float | None = None

    def scorer(self, edge: EdgeType, graph: Graph, embeddings: Embeddings) -> Scorer:
        """Scores of all targets for some sources, by embeddings and what ``graph`` has seen."""
        weights = np.array(astuple(self.weights[edge.name]), np.float32)
        terms = Terms.of(graph, edge, embeddings, self.lately)

        def score(src: Ints) -> Floats:
            scores = np.zeros((len(src), graph.num_nodes[edge.target]), np.float32)
            for weight, term in zip(weights, terms.each(src), strict=True):
                scores += weight * term
            return scores

        return score

    def to_dict(self) -> dict[str, Any]:
        return {
            "weights": {name: asdict(weights) for name, weights in self.weights.items()},
            "lately": self.lately,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Decoder":
        return cls(
            {name: LinkWeights(**weights) for name, weights in data["weights"].items()},
            data["lately"],
        )


@dataclass(frozen=True)
class Terms:
    """What the weights of one edge type are of, from what a graph has seen."""

    z_src: npt.NDArray[np.float32]
    z_dst: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float32]
    memory: sparse.csr_array
    company: Scorer
    trend: npt.NDArray[np.float32]
    recency: sparse.csr_array

    @classmethod
    def of(
        cls, graph: Graph, edge: EdgeType, embeddings: Embeddings, lately: float | None
    ) -> "Terms":
        """The present is the time of the graph's latest event."""
        sources, targets = graph.num_nodes[edge.source], graph.num_nodes[edge.target]
        pairs, events = graph.pairs(edge.key), graph.edges[edge.key]
        freshness = _freshness(pairs.time, graph, lately, len(pairs))
        recent = np.bincount(
            events.dst, _freshness(events.time, graph, lately, len(events)), minlength=targets
        )
        return cls(
            z_src=embeddings[edge.source],
            z_dst=embeddings[edge.target],
            popularity=_log(np.bincount(pairs.dst, minlength=targets)),
            memory=incidence(pairs, sources, targets).log1p(),
            company=_company(pairs, sources, targets),
            trend=_log(recent),
            recency=sparse.csr_array((freshness, (pairs.src, pairs.dst)), (sources, targets)),
        )

    def each(self, src: Ints) -> Iterator[npt.NDArray[np.float32]]:
        """The terms in the order of ``LinkWeights``. Shapes: [B, targets] or [targets]."""
        yield self.z_src[src] @ self.z_dst.T
        yield self.popularity
        yield self.memory[src].toarray()
        yield self.company(src)
        yield self.trend
        yield self.recency[src].toarray()


def _freshness(
    time: npt.NDArray[np.int64] | None, graph: Graph, lately: float | None, size: int
) -> npt.NDArray[np.float32]:
    """exp(-age / lately); zero where the time is not known. Shape: [size]."""
    if time is None or lately is None:
        return np.zeros(size, np.float32)
    times = [e.time for e in graph.edges.values() if e.time is not None and len(e)]
    present = max((int(t.max()) for t in times), default=0)
    known = time != UNKNOWN_TIME
    age = np.where(known, present - np.where(known, time, present), np.inf)
    return np.exp(-age / lately).astype(np.float32)


def _company(pairs: Pairs, sources: int, targets: int) -> Scorer:
    if targets <= EaseConfig().max_targets:
        linear = ease(pairs, sources, targets)
        if linear is not None:
            return linear
    similar = item_knn(pairs, sources, targets)
    return lambda src: _log(similar(src))


def _log(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.log1p(values).astype(np.float32)


def _lately(graph: Graph) -> float | None:
    """A twentieth of the time between the first and the last event; None without times."""
    times = [e.time[e.time != UNKNOWN_TIME] for e in graph.edges.values() if e.time is not None]
    known = np.concatenate([*times, np.empty(0, np.int64)])
    if not len(known) or known.min() == known.max():
        return None
    return SHORT_TERM * float(known.max() - known.min())


def fit_decoder(
    split: Split, embeddings: Embeddings, temperatures: Mapping[EdgeKey, float], *, seed: int = 0
) -> Decoder:
    """Fit the weights on the validation part, which the embeddings have not seen.

    Args:
        embeddings: Of ``split.train``.
        temperatures: Where the similarity starts (as one over it), and stays without data.
    """
    generator = np.random.default_rng(seed)
    lately = _lately(split.train)
    weights = {}
    for edge in split.train.schema.edges:
        start = LinkWeights(1.0 / temperatures[edge.key])
        held, untimed = split.validation[edge.key], split.method[edge.key] == AT_RANDOM
        terms = Terms.of(split.train, edge, embeddings, lately)
        weights[edge.name] = _fit(split.train, edge, held, terms, start, untimed, generator)
    return Decoder(weights, lately)


def _fit(
    graph: Graph,
    edge: EdgeType,
    held: Edges,
    terms: Terms,
    start: LinkWeights,
    untimed: bool,
    generator: np.random.Generator,
) -> LinkWeights:
    """Softmax regression over candidates; convex in its weights."""
    nodes = graph.num_nodes
    pairs = distinct_pairs(held, nodes[edge.target])
    if len(pairs) < 2 or nodes[edge.target] < 2:
        return start
    chosen = generator.permutation(len(pairs))[:QUERIES]
    src, dst = pairs.src[chosen], pairs.dst[chosen]
    known = held.join(graph.edges[edge.key]) if untimed else held
    others = distinct_pairs(known, nodes[edge.target])
    excluded = Neighbours.of(others.src, others.dst, nodes[edge.source])
    x, allowed, target = _candidates(graph, edge, terms, src, dst, excluded, generator)
    scale = torch.ones(x.size(2))
    scale[0] = 1.0 / start.similarity
    theta = torch.full_like(scale, 0.1)
    theta[0] = 1.0
    theta.requires_grad_()
    optimizer = torch.optim.LBFGS([theta], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = (x @ (theta / scale)).masked_fill(~allowed, float("-inf"))
        loss = F.cross_entropy(logits, target) + 1e-4 * (theta**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    fitted = (theta / scale).detach().tolist()
    return LinkWeights(*fitted)


def _candidates(
    graph: Graph,
    edge: EdgeType,
    terms: Terms,
    src: Ints,
    dst: Ints,
    excluded: Neighbours,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Terms of all candidates, which of them are allowed, and the index of the true one.

    Shapes: [Q, C, terms], [Q, C], [Q].
    """
    candidates = np.union1d(np.flatnonzero(graph.known_nodes(edge.target)), dst)
    if len(candidates) > CANDIDATES:
        drawn = generator.choice(candidates, CANDIDATES, replace=False)
        candidates = np.union1d(drawn, dst)
    column = np.full(graph.num_nodes[edge.target], -1)
    column[candidates] = np.arange(len(candidates))
    shape = (len(src), len(candidates))
    x = np.stack(
        [np.broadcast_to(term[..., candidates], shape) for term in terms.each(src)], axis=2
    )
    allowed = np.ones(shape, bool)
    row, other = excluded.rows(src)
    index = column[other]
    allowed[row[index >= 0], index[index >= 0]] = False
    if edge.source == edge.target:
        own = column[src]
        allowed[np.flatnonzero(own >= 0), own[own >= 0]] = False
    target = column[dst]
    allowed[np.arange(len(dst)), target] = True
    return torch.from_numpy(x), torch.from_numpy(allowed), torch.from_numpy(target)

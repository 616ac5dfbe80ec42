"""From embeddings to the score of a link: three readable weights for each edge type."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.data.schema import EdgeKey, EdgeType
from ml.evaluation.baselines import incidence
from ml.evaluation.metrics import Floats, Ints, Neighbours, Scorer
from ml.graph.graph import Edges, Graph, distinct_pairs
from ml.graph.splits import AT_RANDOM, Split

Embeddings = Mapping[str, npt.NDArray[np.float32]]

QUERIES = 1000
CANDIDATES = 4096


@dataclass(frozen=True)
class LinkWeights:
    """Score of a pair: a cos(z_src, z_dst) + b log(1 + n_target) + c log(1 + n_pair).

    Args:
        similarity: a, of the two embeddings.
        popularity: b, of the target: n_target sources had it.
        memory: c, of the pair: n_pair events of this type were between them.
    """

    similarity: float
    popularity: float = 0.0
    memory: float = 0.0


@dataclass(frozen=True)
class Decoder:
    """Link weights by name of the edge type."""

    weights: Mapping[str, LinkWeights]

    def scorer(self, edge: EdgeType, graph: Graph, embeddings: Embeddings) -> Scorer:
        """Scores of all targets for some sources, by embeddings and what ``graph`` has seen."""
        weights = self.weights[edge.name]
        pairs, nodes = graph.pairs(edge.key), graph.num_nodes
        seen = incidence(pairs, nodes[edge.source], nodes[edge.target]).log1p()
        popular = np.log1p(np.bincount(pairs.dst, minlength=nodes[edge.target]))
        bias = (weights.popularity * popular).astype(np.float32)
        z_src, z_dst = embeddings[edge.source], embeddings[edge.target]

        def score(src: Ints) -> Floats:
            scores = weights.similarity * (z_src[src] @ z_dst.T) + bias
            rows = seen[src].tocoo()
            scores[rows.row, rows.col] += weights.memory * rows.data
            return np.asarray(scores, dtype=np.float32)

        return score

    def to_dict(self) -> dict[str, Any]:
        return {name: asdict(weights) for name, weights in self.weights.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Decoder":
        return cls({name: LinkWeights(**weights) for name, weights in data.items()})


def fit_decoder(
    split: Split, embeddings: Embeddings, temperatures: Mapping[EdgeKey, float], *, seed: int = 0
) -> Decoder:
    """Fit the weights on the validation part, which the embeddings have not seen.

    Args:
        embeddings: Of ``split.train``.
        temperatures: Where the similarity starts (as one over it), and stays without data.
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for edge in split.train.schema.edges:
        start = LinkWeights(1.0 / temperatures[edge.key])
        held, untimed = split.validation[edge.key], split.method[edge.key] == AT_RANDOM
        weights[edge.name] = _fit(split.train, edge, held, embeddings, start, untimed, generator)
    return Decoder(weights)


def _fit(
    graph: Graph,
    edge: EdgeType,
    held: Edges,
    embeddings: Embeddings,
    start: LinkWeights,
    untimed: bool,
    generator: np.random.Generator,
) -> LinkWeights:
    """Softmax regression over candidates; convex in its three weights."""
    nodes = graph.num_nodes
    pairs = distinct_pairs(held, nodes[edge.target])
    if len(pairs) < 2 or nodes[edge.target] < 2:
        return start
    chosen = generator.permutation(len(pairs))[:QUERIES]
    src, dst = pairs.src[chosen], pairs.dst[chosen]
    known = held.join(graph.edges[edge.key]) if untimed else held
    others = distinct_pairs(known, nodes[edge.target])
    excluded = Neighbours.of(others.src, others.dst, nodes[edge.source])
    x, allowed, target = _candidates(graph, edge, embeddings, src, dst, excluded, generator)
    scale = torch.tensor([1.0 / start.similarity, 1.0, 1.0])
    theta = torch.tensor([1.0, 0.1, 0.1], requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=30, line_search_fn="strong_wolfe")

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
    embeddings: Embeddings,
    src: Ints,
    dst: Ints,
    excluded: Neighbours,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features of all candidates, which of them are allowed, and the place of the true one.

    Shapes: [Q, C, 3], [Q, C], [Q].
    """
    pairs, nodes = graph.pairs(edge.key), graph.num_nodes
    size = nodes[edge.target]
    candidates = np.arange(size)
    if size > CANDIDATES:
        drawn = generator.choice(size, CANDIDATES, replace=False)
        candidates = np.unique(np.concatenate([drawn, dst]))
    column = np.full(size, -1)
    column[candidates] = np.arange(len(candidates))
    seen = incidence(pairs, nodes[edge.source], size).log1p()[src][:, candidates].toarray()
    popular = np.log1p(np.bincount(pairs.dst, minlength=size)[candidates])
    cosine = embeddings[edge.source][src] @ embeddings[edge.target][candidates].T
    x = np.stack([cosine, np.broadcast_to(popular, cosine.shape), seen], axis=2)
    allowed = np.ones(cosine.shape, bool)
    row, other = excluded.rows(src)
    place = column[other]
    allowed[row[place >= 0], place[place >= 0]] = False
    if edge.source == edge.target:
        own = column[src]
        allowed[np.flatnonzero(own >= 0), own[own >= 0]] = False
    target = column[dst]
    allowed[np.arange(len(dst)), target] = True
    return (
        torch.from_numpy(x.astype(np.float32)), torch.from_numpy(allowed), torch.from_numpy(target)
    )  # fmt: skip

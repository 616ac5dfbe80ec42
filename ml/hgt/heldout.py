"""From a trained model to its decoder and its report on held-out links."""

from dataclasses import dataclass

from ml.contracts.reports.links import LinkReport
from ml.evaluation.report import MAX_EVALUATED, link_report
from ml.graph.splits import Split
from ml.hgt.decoder import Decoder, fit_decoder
from ml.hgt.model import embed
from ml.hgt.training.loop import TrainedModel


@dataclass(frozen=True)
class HeldOut:
    """The fitted decoder and the report on held-out links."""

    decoder: Decoder
    report: LinkReport


def evaluate_links(
    trained: TrainedModel, split: Split, *, seed: int = 0, max_evaluated: int = MAX_EVALUATED
) -> HeldOut:
    """Fit the decoder on the validation part and measure on the test part.

    The decoder sees embeddings from the train part alone; the test is scored with embeddings of
    all that was known at the test cut.
    """
    early = embed(trained.model, trained.encoder, split.train)
    decoder = fit_decoder(split, early, trained.temperatures, seed=seed)
    late = embed(trained.model, trained.encoder, split.observed)
    scorers = {
        edge.key: decoder.scorer(edge, split.observed, late) for edge in split.observed.schema.edges
    }
    return HeldOut(decoder, link_report(split, scorers, max_evaluated=max_evaluated, seed=seed))

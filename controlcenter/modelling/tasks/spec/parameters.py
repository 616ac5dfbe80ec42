"""Parameters of a task: each with its documented range."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from rest_framework import serializers

from controlcenter.modelling.tasks.iterations import METRIC
from controlcenter.modelling.tasks.workflows import Mode
from controlcenter.platform.common.api.serializers import StrictSerializer

Number = TypeVar("Number", int, float)


class Ranged(serializers.Field[Any, Any, Any, Any]):
    """Base of number fields whose error names field, value and range."""

    low: float
    high: float
    kind = "a number"

    def converted(
        self, data: object, convert: Callable[[Any], Number], *, types: tuple[type, ...]
    ) -> Number:
        """The value of what was given.

        Args:
            types: Types that are taken; true and false are no numbers.

        Raises:
            ValidationError: that names what was got and the range, if it is not in it.
        """
        if isinstance(data, types) and not isinstance(data, bool):
            with suppress(ValueError, OverflowError):
                value = convert(data)
                if self.low <= value <= self.high:
                    return value
        raise serializers.ValidationError(
            f"got {data!r}, expected {self.kind} from {self.low} to {self.high}"
        )


class RangedInteger(Ranged, serializers.IntegerField):
    """A whole number in a range; text of digits is one too."""

    kind = "a whole number"

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        self.low, self.high = low, high
        super().__init__(
            help_text=f"{kwargs.pop('about')} From {low} to {high}.",
            min_value=low,
            max_value=high,
            **kwargs,
        )

    def to_internal_value(self, data: Any) -> int:
        return self.converted(data, int, types=(int, str))


class RangedFloat(Ranged, serializers.FloatField):
    """A number in a range."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        self.low, self.high = low, high
        super().__init__(
            help_text=f"{kwargs.pop('about')} From {low} to {high}.",
            min_value=low,
            max_value=high,
            **kwargs,
        )

    def to_internal_value(self, data: Any) -> float:
        return self.converted(data, float, types=(int, float, str))


class ParametersSerializer(StrictSerializer):
    """What a task may be told; everything has a default."""

    mode = serializers.ChoiceField(choices=Mode.choices, default=Mode.FULL_RETRAIN)
    scope = serializers.ChoiceField(choices=["full", "sampled"], default="full")
    sample_ratio = RangedFloat(
        0.01, 1.0, default=1.0, about="Share of the users that a sampled scope keeps."
    )
    epochs = RangedInteger(1, 1000, required=False, about="Passes over the graph.")
    learning_rate = RangedFloat(1e-6, 1.0, required=False, about="Step of the optimizer.")
    temperature = RangedFloat(
        0.05, 0.5, required=False, about="Start of InfoNCE's learned temperature."
    )
    fusion_epochs = RangedInteger(1, 5000, required=False, about="Passes of the fusion.")
    horizon_days = RangedInteger(
        1,
        365,
        required=False,
        about="Where a score learns from future behaviour: so many days of it, at most.",
    )
    seed = RangedInteger(0, 2**31 - 1, default=7, about="Same seed, same machine: same metrics.")
    keep_timestamps = serializers.BooleanField(default=True)
    temporal = serializers.BooleanField(
        default=False,
        help_text="Learn in the order of time, and let the attention know how old each edge is. "
        "For data in which interests move.",
    )
    device = serializers.ChoiceField(choices=["auto", "cpu", "gpu"], default="auto")
    processes = RangedInteger(
        1, 64, default=1, about="Processes on the worker's machine that share the training."
    )
    max_iterations = RangedInteger(
        1, 100, default=5, about="The workflow continuous ends after so many."
    )
    performance_metric = serializers.RegexField(
        r"^(links|score)\.(?!brier$|calibration_error$)[\w.-]+$",
        default=METRIC,
        max_length=100,
        help_text="What iterations are compared by, as an evaluation report names it: links.mrr, "
        "links.user-orders-product.mrr, score.auc.",
        error_messages={
            "invalid": "expected a metric of a report of which more is better, as links.mrr"
        },
    )
    performance_threshold = RangedFloat(
        0.0, 1.0, required=False, about="The workflow continuous ends once its metric reaches it."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["scope"] == "full" and attrs["sample_ratio"] != 1.0:
            raise serializers.ValidationError(
                {"sample_ratio": "only scope 'sampled' takes one; set scope to 'sampled'"}
            )
        if attrs["scope"] == "sampled" and attrs["mode"] == Mode.EMBEDDING_ONLY:
            raise serializers.ValidationError(
                {"scope": "embedding_only trains nothing and covers everybody: leave scope full"}
            )
        if attrs["temporal"] and attrs["mode"] == Mode.EMBEDDING_ONLY:
            raise serializers.ValidationError(
                {"temporal": "embedding_only trains nothing: the version says how it learned"}
            )
        if attrs["temporal"] and not attrs["keep_timestamps"]:
            raise serializers.ValidationError(
                {"temporal": "learns from the times of events: leave keep_timestamps true"}
            )
        return attrs


def defaults() -> dict[str, Any]:
    """Parameters of a task that was told nothing."""
    serializer = ParametersSerializer(data={})
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)

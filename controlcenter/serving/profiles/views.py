"""Users with their recommendations, explanations and look-alikes; products; apps; rule preview."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.rules.serializers import PreviewRequestSerializer, PreviewSerializer
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet, ScopedViewSet
from controlcenter.platform.common.api.filters import UtcFilter
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.common.formatting import validated
from controlcenter.serving.incremental.freshness import since_replaced
from controlcenter.serving.profiles import explanations, queries
from controlcenter.serving.profiles.explanations import Question
from controlcenter.serving.profiles.models import (
    Explanation,
    ExplanationBackground,
    ExplanationState,
    ExplanationView,
    Item,
    Profile,
)
from controlcenter.serving.profiles.reading import Reading
from controlcenter.serving.profiles.serializers import (
    ExplanationSerializer,
    ItemSerializer,
    ProfileSerializer,
    ProfileSummarySerializer,
    RecommendationsSerializer,
    SimilarSerializer,
)
from ml.rules.rule_set import RuleError

MAX_SIMILAR = 100
HEAVY = ("embedding", "recommendations")


class ProfileFilter(filters.FilterSet):
    """Filters of the list of users."""

    user_id = filters.CharFilter()
    user_id__startswith = filters.CharFilter("user_id", "startswith")
    score_min = filters.NumberFilter("final_score", "gte")
    score_max = filters.NumberFilter("final_score", "lte")
    active_after = UtcFilter("last_event_at", "gte")
    active_before = UtcFilter("last_event_at", "lte")
    scored = filters.BooleanFilter("final_score", "isnull", exclude=True)
    rule = filters.CharFilter(method="hit_by", label="Name of a rule that matches")

    class Meta:
        model = Profile
        fields: list[str] = []

    def hit_by(self, queryset: QuerySet[Profile], name: str, value: str) -> QuerySet[Profile]:
        return queryset.filter(rule_hits__contains={value: True})


class ProfileViewSet(ReadViewSet):
    """The users of the workspace."""

    queryset = Profile.objects.all()
    filterset_class = ProfileFilter
    lookup_field = "user_id"
    lookup_value_regex = "[^/]+"
    ordering_fields = ["user_id", "final_score", "last_event_at", "call_peers"]
    roles = {
        "recommendations": Role.VIEWER,
        "similar": Role.VIEWER,
        "explanation": Role.ANALYST,
    }

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset()
        return queryset.defer(*HEAVY) if self.action == "list" else queryset

    def get_object(self) -> Profile:
        """The user; one whose score is stale is asked for, and waited for a moment."""
        self.reading = Reading(self.workspace.pk)
        profile: Profile = super().get_object()
        return self.reading.fresh([profile], self.get_queryset())[0]

    def paginate_queryset(self, queryset: Any) -> Any:
        """A page of users, refreshed together; their order is that of before."""
        reading = Reading(self.workspace.pk)
        page = super().paginate_queryset(queryset)
        return None if page is None else reading.fresh(list(page), self.get_queryset())

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return ProfileSummarySerializer if self.action == "list" else ProfileSerializer

    @extend_schema(responses=RecommendationsSerializer)
    @action(detail=True, filter_backends=[], pagination_class=None)
    def recommendations(self, request: Request, user_id: str) -> Response:
        """What to offer this user, best first, and why."""
        profile = self.get_object()
        if profile.recommendations is None:
            raise Conflict(f"User {user_id!r} was not scored yet: wait for the next refresh.")
        body = {
            "user_id": profile.user_id,
            "model_version": profile.model_version_id,
            "stale_since": since_replaced(self.workspace.pk),
            "recommendations": profile.recommendations,
        }
        return Response(RecommendationsSerializer(body).data)

    @extend_schema(
        parameters=[
            OpenApiParameter("limit", int, description=f"1 to {MAX_SIMILAR}, 10 by default.")
        ],
        responses=SimilarSerializer(many=True),
    )
    @action(detail=True, filter_backends=[], pagination_class=None)
    def similar(self, request: Request, user_id: str) -> Response:
        """The users nearest to this one by their embeddings."""
        given = request.query_params.get("limit", "10")
        if not given.isdecimal() or not 1 <= int(given) <= MAX_SIMILAR:
            raise ValidationError({"limit": f"got {given!r}, expected 1 to {MAX_SIMILAR}"})
        profile = self.get_object()
        if profile.embedding is None:
            raise Conflict(f"User {user_id!r} has no embedding yet: wait for the next refresh.")
        nearest = self.reading.similar(profile, int(given))
        return Response(SimilarSerializer(nearest, many=True).data)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "view",
                enum=ExplanationView.values,
                description="evidence (by default): rules and kinds of evidence, through the "
                "network, with the strongest neighbours; groups: rules, rule score, embedding, "
                "attributes; flat: every feature of the fusion on its own.",
            ),
            OpenApiParameter(
                "background",
                enum=ExplanationBackground.values,
                description="What stands in for what is out of play: the stored sample of users "
                "(by default), or zeros, then the answer carries a warning.",
            ),
        ],
        responses={200: ExplanationSerializer, 202: ExplanationSerializer},
    )
    @action(detail=True, filter_backends=[], pagination_class=None)
    def explanation(self, request: Request, user_id: str) -> Response:
        """What the score is made of; 202 if a worker needs longer than the request may wait."""
        question = Question(
            view=chosen(request, "view", ExplanationView.values),
            background=chosen(request, "background", ExplanationBackground.values),
        )
        profile = self.get_object()
        explanation = explanations.wait(
            explanations.request(profile, question), seconds=settings.EXPLANATION_WAIT_SECONDS
        )
        path = reverse("users-explanation", args=[user_id], request=request)
        unusual = {k: v for k, v in question.as_fields().items() if k in request.query_params}
        url = f"{path}?{urlencode({'workspace': self.workspace.slug, **unusual})}"
        body = ExplanationSerializer(explanation_body(profile, explanation, url)).data
        ready = explanation.state != ExplanationState.PENDING
        return Response(
            body,
            status=200 if ready else 202,
            headers={} if ready else {"Location": url, "Retry-After": "2"},
        )


def chosen(request: Request, name: str, values: Sequence[str]) -> str:
    """A query parameter that takes one of some values, the first by default."""
    given = request.query_params.get(name, values[0])
    if given not in values:
        raise ValidationError({name: f"got {given!r}, expected one of {', '.join(values)}"})
    return given


def explanation_body(profile: Profile, explanation: Explanation, url: str) -> dict[str, Any]:
    """An explanation as the API gives it, whatever its state."""
    return {
        "user_id": profile.user_id,
        "state": explanation.state,
        "view": explanation.view,
        "url": url,
        "model_version": explanation.model_version_id,
        "rule_revision": explanation.rule_revision,
        "profile_revision": explanation.explained_revision or explanation.profile_revision,
        "stale_since": profile.stale_since,
        "error": explanation.error,
        "score_validated": validated(profile.score_basis),
        **(explanation.result or {}),
    }


class ItemViewSet(ReadViewSet):
    """Things that users touch."""

    queryset = Item.objects.defer("embedding")
    serializer_class = ItemSerializer
    lookup_field = "item_id"
    lookup_value_regex = "[^/]+"
    filterset_fields = {"item_id": ["exact", "startswith"]}
    ordering_fields = ["item_id"]
    item_type = ""

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(type=self.item_type)


class ProductViewSet(ItemViewSet):
    """The products of the workspace."""

    item_type = "product"


class AppViewSet(ItemViewSet):
    """The apps of the workspace."""

    item_type = "app"


class RulePreviewViewSet(mixins.CreateModelMixin, ScopedViewSet):
    """What a rule would match, without saving it."""

    queryset = Profile.objects.all()
    serializer_class = PreviewRequestSerializer
    roles = {"create": Role.ANALYST}

    @extend_schema(request=PreviewRequestSerializer, responses={200: PreviewSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """How many users match now, which, and in how long."""
        serializer = PreviewRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        try:
            preview = queries.preview(self.workspace, data["expression"], data["limit"])
        except RuleError as error:
            raise ValidationError({"expression": str(error)}) from error
        return Response(PreviewSerializer(preview).data)

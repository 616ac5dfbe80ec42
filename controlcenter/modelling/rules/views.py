"""Rules and their revisions. (The preview needs users: it lives with the profiles.)"""

from typing import Any

from rest_framework import mixins
from rest_framework.serializers import BaseSerializer

from controlcenter.modelling.rules import services
from controlcenter.modelling.rules.models import Rule, RuleRevision
from controlcenter.modelling.rules.serializers import RuleRevisionSerializer, RuleSerializer
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.accounts.viewsets import ReadViewSet, ScopedViewSet


class RuleViewSet(
    mixins.CreateModelMixin, mixins.UpdateModelMixin, mixins.DestroyModelMixin, ReadViewSet
):
    """The rules of the workspace. Each change makes a revision and asks for rescoring."""

    queryset = Rule.objects.select_related("workspace")
    serializer_class = RuleSerializer
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]
    filterset_fields = {"name": ["exact", "icontains"], "weight": ["gte", "lte"]}
    ordering_fields = ["id", "name", "weight", "updated_at"]
    roles = dict.fromkeys(["create", "update", "partial_update", "destroy"], Role.OPERATOR)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        serializer.instance = services.create(
            workspace=self.workspace, account=self.account, fields=serializer.validated_data
        )

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        assert isinstance(serializer.instance, Rule)
        serializer.instance = services.update(
            rule=serializer.instance, account=self.account, fields=serializer.validated_data
        )

    def perform_destroy(self, instance: Rule) -> None:
        services.delete(rule=instance, account=self.account)


class RuleRevisionViewSet(mixins.ListModelMixin, ScopedViewSet):
    """How the rule set came to be what it is, newest first."""

    queryset = RuleRevision.objects.all()
    serializer_class = RuleRevisionSerializer
    filterset_fields = ["revision", "actor"]
    ordering_fields = ["revision"]

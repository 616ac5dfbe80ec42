"""Model versions with what makes one of them serve: promote, roll back."""

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.views import ModelVersionViewSet
from controlcenter.modelling.rollouts import services
from controlcenter.modelling.rollouts.serializers import PromotedSerializer, ReasonSerializer
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Role


class RolloutViewSet(ModelVersionViewSet):
    """Model versions with their metrics beside the baselines, lineage and files."""

    roles = {"promote": Role.OPERATOR, "rollback": Role.OPERATOR}

    @extend_schema(request=ReasonSerializer, responses={202: PromotedSerializer})
    @action(detail=True, methods=["post"])
    def promote(self, request: Request, pk: str) -> Response:
        """Make this version active; rescoring follows."""
        version = self.get_object()
        task = services.promote(version=version, account=self.account, reason=self.reason())
        return self.promoted(version, task)

    @extend_schema(request=ReasonSerializer, responses={202: PromotedSerializer})
    @action(detail=False, methods=["post"])
    def rollback(self, request: Request) -> Response:
        """Back to the version before the active one; rescoring follows."""
        version, task = services.rollback(
            workspace=self.workspace, account=self.account, reason=self.reason()
        )
        return self.promoted(version, task)

    def reason(self) -> str:
        """The reason that the request gives."""
        body = ReasonSerializer(data=self.request.data)
        body.is_valid(raise_exception=True)
        return str(body.validated_data["reason"])

    @staticmethod
    def promoted(version: ModelVersion, task: Task) -> Response:
        """The answer: the version that is active now, and the task that rescores."""
        body = {"active": version.pk, "number": version.number, "task": task.pk}
        return Response(PromotedSerializer(body).data, status=202)

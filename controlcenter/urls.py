"""All routes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.routers import DefaultRouter

from controlcenter.lineage.views import LineageView, OpenLineageView
from controlcenter.modelling.datasets.views import DatasetViewSet
from controlcenter.modelling.evaluations.views import EvaluationViewSet
from controlcenter.modelling.rollouts.views import RolloutViewSet
from controlcenter.modelling.rules.views import RuleRevisionViewSet, RuleViewSet
from controlcenter.modelling.task_schedules.views import ScheduleViewSet
from controlcenter.modelling.tasks.views import TaskViewSet
from controlcenter.operations import views as operations
from controlcenter.platform.accounts.views import (
    MemberViewSet,
    MeView,
    TokenViewSet,
    WorkspaceViewSet,
)
from controlcenter.platform.common.api.root import ApiRoot
from controlcenter.platform.webhooks.views import DeliveryViewSet, WebhookViewSet
from controlcenter.serving.ingestion.views import EventViewSet
from controlcenter.serving.profiles.views import (
    AppViewSet,
    ProductViewSet,
    ProfileViewSet,
    RulePreviewViewSet,
)

router = DefaultRouter()
router.APIRootView = ApiRoot
router.register("auth/tokens", TokenViewSet, "tokens")
router.register("workspaces", WorkspaceViewSet, "workspaces")
router.register("members", MemberViewSet, "members")
router.register("datasets", DatasetViewSet, "datasets")
router.register("rules/preview", RulePreviewViewSet, "rules-preview")
router.register("rules/revisions", RuleRevisionViewSet, "rules-revisions")
router.register("rules", RuleViewSet, "rules")
router.register("events", EventViewSet, "events")
router.register("tasks", TaskViewSet, "tasks")
router.register("schedules", ScheduleViewSet, "schedules")
router.register("users", ProfileViewSet, "users")
router.register("products", ProductViewSet, "products")
router.register("apps", AppViewSet, "apps")
router.register("models", RolloutViewSet, "models")
router.register("evaluations", EvaluationViewSet, "evaluations")
router.register("webhooks/deliveries", DeliveryViewSet, "webhooks-deliveries")
router.register("webhooks", WebhookViewSet, "webhooks")
router.register("operations/audit", operations.AuditViewSet, "audit")

operation_routes = [
    path("status/", operations.StatusView.as_view(), name="status"),
    path("metrics/", operations.ResourcesView.as_view(), name="resources"),
    path("ingestion/stop/", operations.IngestionStopView.as_view(), name="ingestion-stop"),
    path("ingestion/start/", operations.IngestionStartView.as_view(), name="ingestion-start"),
    path("incremental/", operations.IncrementalView.as_view(), name="incremental"),
    path("incremental/start/", operations.IncrementalStartView.as_view(), name="incremental-start"),
    path("incremental/stop/", operations.IncrementalStopView.as_view(), name="incremental-stop"),
    path("fusion/train/", operations.FusionTrainingView.as_view(), name="fusion-train"),
    path("hgt/train/", operations.NetworkTrainingView.as_view(), name="hgt-train"),
    path("rules/refresh/", operations.RuleRefreshView.as_view(), name="rules-refresh"),
    path(
        "explanations/clear/", operations.ExplanationClearView.as_view(), name="explanations-clear"
    ),
]

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/"), name="home"),
    path("livez", operations.livez, name="livez"),
    path("readyz", operations.readyz, name="readyz"),
    path("health", operations.health_view, name="health"),
    path("metrics", operations.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("api/v1/accounts/me/", MeView.as_view(), name="me"),
    path("api/v1/lineage/", LineageView.as_view(), name="lineage"),
    path("api/v1/lineage/openlineage/", OpenLineageView.as_view(), name="lineage-openlineage"),
    path("api/v1/operations/", include(operation_routes)),
    path("api/v1/", include(router.urls)),
    path("api/auth/", include("rest_framework.urls")),
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[]), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(permission_classes=[]), name="docs"),
    path("api/redoc/", SpectacularRedocView.as_view(permission_classes=[]), name="redoc"),
]

handler404 = "controlcenter.platform.common.api.problems.page_not_found"
handler500 = "controlcenter.platform.common.api.problems.server_error"

"""Read the log."""

from rest_framework import mixins

from controlcenter.platform.accounts.viewsets import ScopedViewSet
from controlcenter.platform.log.models import Event
from controlcenter.platform.log.serializers import EventSerializer


class LogViewSet(mixins.ListModelMixin, ScopedViewSet):
    """The event log of the workspace."""

    queryset = Event.objects.all()
    serializer_class = EventSerializer
    filterset_fields = {
        "type": ["exact"],
        "actor": ["exact"],
        "target": ["exact"],
        "source": ["exact"],
        "event_id": ["exact"],
        "timestamp": ["gte", "lt"],
    }
    ordering_fields = ["id", "timestamp"]

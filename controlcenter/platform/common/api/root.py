"""The front page of the browsable API."""

from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import APIRootView


class ApiRoot(APIRootView):
    """All resources of the User Profile System. Add ``?workspace=slug`` to look at another one."""

    permission_classes = [IsAuthenticated]

"""Reads of model versions."""

from uuid import UUID

from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion


def active_version(workspace_id: UUID) -> ModelVersion | None:
    """The version that a workspace's scores come from."""
    pointers = ActiveVersion.objects.filter(workspace=workspace_id)
    pointer = pointers.select_related("version__dataset").first()
    return pointer.version if pointer else None

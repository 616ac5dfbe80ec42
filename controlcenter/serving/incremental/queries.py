"""What the profiles of a workspace are made of."""

import uuid

from django.db.models import QuerySet

from controlcenter.modelling.registry.models import ActiveVersion, ModelVersion
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.serving.incremental.models import Loop


def present_graph(workspace_id: uuid.UUID) -> list[Artifact]:
    """The files of the graph that the present profiles are of, in the order of their names.

    A version's own graph is the one it was trained on; a task may have scored another one with it.
    That one is taken for profiles of which nobody noted a graph. Empty where there are no profiles.
    """
    loop = Loop.objects.filter(pk=workspace_id).first()
    if loop is not None and loop.graph_generation == loop.generation:
        return in_order(loop.graph_files.all())
    version = loop.version_id if loop is not None else None
    if version is None:
        active = ActiveVersion.objects.filter(workspace=workspace_id)
        version = active.values_list("version", flat=True).first()
    return own_graph(version)


def graph_to_score(version: ModelVersion) -> list[Artifact]:
    """The files of the graph that a version scores where its task builds none.

    That of the present profiles if their version learned from the same graph as this one, as those
    do of which one is a fusion of the other; else its own.
    """
    own = own_graph(version.pk)
    of = Loop.objects.filter(pk=version.workspace_id).values_list("version", flat=True).first()
    return present_graph(version.workspace_id) if own_graph(of) == own else own


def own_graph(version_id: uuid.UUID | None) -> list[Artifact]:
    """The files of the graph that a version was trained on."""
    return in_order(Artifact.objects.filter(trained_versions=version_id)) if version_id else []


def in_order(files: QuerySet[Artifact]) -> list[Artifact]:
    """By name."""
    return list(files.order_by("name"))

"""What the profiles of a workspace are made of."""

import uuid

from controlcenter.artifacts.models import Artifact
from controlcenter.incremental.models import Loop
from controlcenter.registry.models import ModelVersion


def present_graph(workspace_id: uuid.UUID) -> list[Artifact]:
    """The files of the graph that the present profiles are of, in the order of their names.

    A version's own graph is the one it was trained on; a task may have scored another one with it.
    Empty where there are no profiles.
    """
    return list(Artifact.objects.filter(loops=workspace_id).order_by("name"))


def graph_to_score(version: ModelVersion) -> list[Artifact]:
    """The files of the graph that a version scores where its task builds none: that of the present
    profiles, or if they are of another schema the one it was trained on."""
    of = Loop.objects.filter(pk=version.workspace_id).values_list("version__schema_hash", flat=True)
    graph = present_graph(version.workspace_id) if version.schema_hash in of else []
    return graph or list(version.graph_files.order_by("name"))

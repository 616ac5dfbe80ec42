"""What lies in the object store, for reading."""

from django.contrib import admin

from controlcenter.platform.accounts.console import ScopedAdmin, WorkspaceFilter
from controlcenter.platform.artifacts.models import Artifact


@admin.register(Artifact)
class ArtifactAdmin(ScopedAdmin):
    """Objects in the store, each written once and checked by its SHA-256."""

    list_display = ("key", "workspace", "name", "size", "created_at")
    list_filter = (WorkspaceFilter,)
    search_fields = ("key__startswith", "name__startswith")
    fields = ("workspace", "key", "name", "size", "sha256", "run_id", "epoch", "created_at")

"""Migrations back and forth, for tests that rows of before an upgrade are there after it."""

from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

Target = tuple[str, str | None]


def migrate(targets: list[Target]) -> Any:
    """Migrate to these (None: to before the first), and give the apps as they are there."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    nodes = [target for target in targets if target[1] is not None]
    return executor.loader.project_state(nodes).apps  # type: ignore[arg-type]


def newest() -> list[Target]:
    """All migrations."""
    return list(MigrationExecutor(connection).loader.graph.leaf_nodes())

"""The runs and tasks of a workspace as OpenLineage events."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.forms import ValidationError

from controlcenter.lineage.openlineage.events import MAX_LIMIT, pages
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common.api.filters import UtcField


class Command(BaseCommand):
    """Writes all of them, one a line; what takes them may get one twice."""

    help = "Write the runs and tasks of a workspace as OpenLineage events (NDJSON)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", required=True, help="its slug")
        parser.add_argument("--since", default="", help="began or ended since, ISO 8601")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        try:
            since = UtcField(required=False).clean(options["since"])
        except ValidationError as error:
            message = f"--since: got {options['since']!r}, expected ISO 8601 with a zone"
            raise CommandError(message) from error
        for page in pages(workspace, since=since, limit=MAX_LIMIT):
            for event in page.events:
                self.stdout.write(json.dumps(event))

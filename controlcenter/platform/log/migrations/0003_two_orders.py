"""Edges have an index of their own in commit order, so that other events are not in their way."""

from django.db import migrations

FORWARD = """
CREATE INDEX event_edge_order ON events_event (workspace_id, xid, id) WHERE actor IS NOT NULL;
CREATE INDEX event_other_order ON events_event (workspace_id, xid, id) WHERE actor IS NULL;
DROP INDEX event_commit_order;
"""
BACKWARD = """
CREATE INDEX event_commit_order ON events_event (workspace_id, xid, id);
DROP INDEX event_edge_order;
DROP INDEX event_other_order;
"""


class Migration(migrations.Migration):
    dependencies = [("log", "0002_any_event")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

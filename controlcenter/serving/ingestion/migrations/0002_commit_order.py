"""The transaction that wrote an event: consumers read in commit order."""

from django.db import migrations

FORWARD = """
ALTER TABLE events_event ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX event_commit_order ON events_event (workspace_id, xid, id);
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, "ALTER TABLE events_event DROP COLUMN xid")]

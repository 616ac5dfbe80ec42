"""The tables of this room, as the migrations that it replaces left them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

COMMIT_ORDER = """
ALTER TABLE events_event ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX event_commit_order ON events_event (workspace_id, xid, id);
"""


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('events', '0001_initial'),
        ('events', '0002_commit_order'),
        ('events', '0003_called'),
        ('events', '0004_one_index_is_enough'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', models.UUIDField()),
                ('source', models.CharField(max_length=200)),
                ('type', models.CharField(max_length=32)),
                ('timestamp', models.DateTimeField()),
                ('actor', models.CharField(max_length=200)),
                ('target', models.CharField(max_length=200)),
                ('target_type', models.CharField(max_length=32)),
                ('payload', models.JSONField(default=dict)),
                ('meta', models.JSONField(default=dict)),
                ('received_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'db_table': 'events_event',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['workspace', 'actor', '-timestamp'], name='event_actor'), models.Index(fields=['workspace', '-id'], name='event_workspace'), models.Index(condition=models.Q(('target_type', 'user')), fields=['workspace', 'target'], name='event_called')],
                'constraints': [models.UniqueConstraint(fields=('workspace', 'event_id'), name='one_event_an_id')],
            },
        ),
        migrations.RunSQL(COMMIT_ORDER, 'ALTER TABLE events_event DROP COLUMN xid'),
    ]

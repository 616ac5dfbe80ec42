"""Schedules make anything: what they say of a task becomes the spec of their action."""

from django.db import migrations, models
import django.db.models.deletion

FILL_SPEC = """
UPDATE schedules_schedule SET spec = jsonb_build_object(
    'workflow', workflow, 'dataset', dataset_id, 'base_version', base_version_id,
    'parameters', parameters, 'priority', priority
)
"""
FILL_COLUMNS = """
UPDATE schedules_schedule SET
    workflow = spec->>'workflow', dataset_id = (spec->>'dataset')::uuid,
    base_version_id = (spec->>'base_version')::uuid,
    parameters = spec->'parameters', priority = (spec->>'priority')::smallint;
SET CONSTRAINTS ALL IMMEDIATE
"""


class Migration(migrations.Migration):

    dependencies = [('schedules', '0001_schema')]

    operations = [
        migrations.AddField('schedule', 'action', models.CharField(default='task', editable=False, max_length=32), preserve_default=False),
        migrations.AddField('schedule', 'spec', models.JSONField(default=dict, help_text='What is made; its action reads it.')),
        # So that the way back can add the column before it fills it.
        migrations.AlterField('schedule', 'workflow', models.CharField(max_length=16, null=True)),
        migrations.RunSQL(FILL_SPEC, FILL_COLUMNS),
        migrations.RemoveField('schedule', 'workflow'),
        migrations.RemoveField('schedule', 'dataset'),
        migrations.RemoveField('schedule', 'base_version'),
        migrations.RemoveField('schedule', 'parameters'),
        migrations.RemoveField('schedule', 'priority'),
        # The column stays, its foreign key goes.
        migrations.AlterField(
            'fire', 'task',
            models.OneToOneField(db_constraint=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='fire', to='tasks.task'),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField('fire', 'task'),
                migrations.AddField('fire', 'result_id', models.UUIDField(db_column='task_id', help_text='What it made; null: nothing.', null=True, unique=True)),
            ],
        ),
    ]

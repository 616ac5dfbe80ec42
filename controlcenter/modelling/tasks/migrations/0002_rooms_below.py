"""Runs and model versions stand below tasks: they keep a task's id and know no more of it."""

from django.conf import settings
from django.db import migrations

FREE = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT conname FROM pg_constraint
        WHERE conrelid = 'tasks_run'::regclass AND contype = 'f'
        AND confrelid = 'tasks_task'::regclass
    LOOP EXECUTE format('ALTER TABLE tasks_run DROP CONSTRAINT %I', name); END LOOP;
END $$;

DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT conname FROM pg_constraint
        WHERE conrelid = 'registry_modelversion'::regclass AND contype = 'f'
        AND confrelid = 'tasks_task'::regclass
    LOOP EXECUTE format('ALTER TABLE registry_modelversion DROP CONSTRAINT %I', name); END LOOP;
END $$;

DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT indexname FROM pg_indexes
        WHERE tablename = 'registry_modelversion' AND indexdef LIKE '%(task_id)'
    LOOP EXECUTE format('DROP INDEX %I', name); END LOOP;
END $$;
"""
RANKS = """
UPDATE tasks_run AS run
SET rank_at = task.created_at - task.priority * %s * interval '1 minute'
FROM tasks_task AS task
WHERE task.id = run.task_id AND run.status IN ('queued', 'running')
"""


def rank(apps, schema_editor):
    """Those that wait while the system is upgraded keep their places."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(RANKS, [settings.PRIORITY_MINUTES])


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0001_schema'),
        ('runs', '0002_ranks'),
        ('tasks', '0001_schema'),
    ]

    operations = [
        migrations.RunSQL(FREE, migrations.RunSQL.noop),
        migrations.RunPython(rank, migrations.RunPython.noop),
    ]

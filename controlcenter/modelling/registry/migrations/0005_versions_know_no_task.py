from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [('registry', '0004_trained_versions')]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint('modelversion', 'one_version_an_iteration'),
                migrations.RemoveField('modelversion', 'task'),
                migrations.AddField(
                    'modelversion', 'task_id',
                    models.UUIDField(default=None, help_text='The task that made it.'),
                    preserve_default=False,
                ),
                migrations.AddConstraint(
                    'modelversion',
                    models.UniqueConstraint(
                        fields=('task_id', 'iteration'), name='one_version_an_iteration'
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            """
            DO $$ DECLARE name text; BEGIN
                FOR name IN SELECT conname FROM pg_constraint
                    WHERE conrelid = 'registry_modelversion'::regclass AND contype = 'f'
                    AND confrelid = 'tasks_task'::regclass
                LOOP EXECUTE format('ALTER TABLE registry_modelversion DROP CONSTRAINT %I', name);
                END LOOP;
            END $$
            """,
            migrations.RunSQL.noop,
        ),
    ]

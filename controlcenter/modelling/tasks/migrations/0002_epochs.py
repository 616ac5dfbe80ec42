"""The sequence that each claim takes a new epoch from."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tasks", "0001_initial")]
    operations = [
        migrations.RunSQL("CREATE SEQUENCE tasks_run_epoch", "DROP SEQUENCE tasks_run_epoch"),
    ]

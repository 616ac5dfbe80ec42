"""The table of events is the log's."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("events", "0004_one_index_is_enough"), ("log", "0001_initial")]
    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Event")]),
    ]

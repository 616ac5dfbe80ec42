"""Whom others called: the events of one user are read for its explanation."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0002_commit_order")]
    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("target_type", "user")),
                fields=["workspace", "target"],
                name="event_called",
            ),
        ),
    ]

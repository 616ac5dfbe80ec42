"""When a user's first event came that the score does not know, and the transaction of the last."""

from django.db import migrations, models

FORWARD = "ALTER TABLE profiles_profile ADD COLUMN changed_xid xid8"


class Migration(migrations.Migration):
    dependencies = [("profiles", "0005_scores_nulls_last")]
    operations = [
        migrations.AddField(
            model_name="profile",
            name="changed_at",
            field=models.DateTimeField(
                help_text="When the first event of the user came that the score does not know.",
                null=True,
            ),
        ),
        migrations.RunSQL(FORWARD, "ALTER TABLE profiles_profile DROP COLUMN changed_xid"),
    ]

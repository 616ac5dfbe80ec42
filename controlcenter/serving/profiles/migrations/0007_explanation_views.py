"""Explanations by view and background. Those cached before have answers of another form."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("profiles", "0006_changed")]
    operations = [
        migrations.RunSQL("DELETE FROM profiles_explanation", migrations.RunSQL.noop),
        migrations.RemoveConstraint("explanation", "one_explanation_a_score"),
        migrations.AddField(
            model_name="explanation",
            name="view",
            field=models.CharField(
                choices=[
                    ("evidence", "rules and kinds of evidence"),
                    ("groups", "rules, rule score, embedding, attributes"),
                    ("flat", "every feature of the fusion on its own"),
                ],
                db_default="evidence",
                default="evidence",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="explanation",
            name="background",
            field=models.CharField(
                choices=[
                    ("sample", "the stored sample of users"),
                    ("zero", "zeros, which no user has"),
                ],
                db_default="sample",
                default="sample",
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            "explanation",
            models.UniqueConstraint(
                fields=(
                    "profile",
                    "model_version",
                    "rule_revision",
                    "profile_revision",
                    "view",
                    "background",
                ),
                name="one_explanation_a_score",
            ),
        ),
    ]

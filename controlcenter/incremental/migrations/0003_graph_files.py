from django.db import migrations, models

# The best that is known of profiles from before: the graph that their version was trained on.
FILL = """
INSERT INTO incremental_loop_graph_files (loop_id, artifact_id)
SELECT loop.workspace_id, files.artifact_id
FROM incremental_loop AS loop JOIN registry_modelversion_graph_files AS files
    ON files.modelversion_id = loop.version_id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("artifacts", "0001_initial"),
        ("incremental", "0002_replaced_seen"),
        ("registry", "0003_iterations"),
    ]

    operations = [
        migrations.AddField(
            model_name="loop",
            name="graph_files",
            field=models.ManyToManyField(
                help_text="The graph that the profiles are of.",
                related_name="loops",
                to="artifacts.artifact",
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]

"""The tables of this room, as the migrations that it replaces left them."""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('evaluations', '0001_initial'),
    ]

    dependencies = [
        ('registry', '0001_schema'),
        ('tasks', '0001_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='EvaluationReport',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('iteration', models.PositiveIntegerField()),
                ('metrics', models.JSONField(help_text="The model's metrics by name, as links.mrr.")),
                ('report', models.JSONField(help_text='Baselines, slices, worst cases, suggestions.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('model_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='evaluations', to='registry.modelversion')),
                ('task', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='evaluations', to='tasks.task')),
            ],
            options={
                'ordering': ['-created_at'],
                'constraints': [models.UniqueConstraint(fields=('task', 'iteration'), name='one_report_an_iteration')],
            },
        ),
    ]

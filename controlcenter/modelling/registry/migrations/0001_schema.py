"""The tables of this room, as the migrations that it replaces left them."""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('registry', '0001_initial'),
        ('registry', '0002_initial'),
        ('registry', '0003_iterations'),
        ('registry', '0004_trained_versions'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('artifacts', '0001_schema'),
        ('datasets', '0001_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelVersion',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(help_text='Counts up within the workspace.')),
                ('task_id', models.UUIDField(help_text='The task that made it.')),
                ('iteration', models.PositiveIntegerField(db_default=0, default=0, help_text='Of the task; only the workflow continuous has several.')),
                ('seed', models.BigIntegerField()),
                ('code_version', models.CharField(max_length=64)),
                ('schema', models.JSONField()),
                ('schema_hash', models.CharField(max_length=64)),
                ('rule_revision', models.PositiveIntegerField()),
                ('rules', models.JSONField(help_text='The rules it was fused with.')),
                ('rules_sitting_out', models.JSONField(default=dict)),
                ('metrics', models.JSONField(help_text='By edge type beside the baselines, and of the score.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('base', models.ForeignKey(help_text='The version whose weights a fusion kept.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='derived', to='registry.modelversion')),
                ('dataset', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='datasets.dataset')),
                ('files', models.ManyToManyField(related_name='+', to='artifacts.artifact')),
                ('graph_files', models.ManyToManyField(related_name='trained_versions', to='artifacts.artifact')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['-number'],
            },
        ),
        migrations.CreateModel(
            name='ActiveVersion',
            fields=[
                ('workspace', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='active', serialize=False, to='accounts.workspace')),
                ('moved_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('moved_by', models.CharField(max_length=150)),
                ('reason', models.CharField(max_length=300)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.modelversion')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(fields=('workspace', 'number'), name='one_version_a_number'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(fields=('task_id', 'iteration'), name='one_version_an_iteration'),
        ),
    ]

"""The tables of this room, as the migrations that it replaces left them."""

import controlcenter.platform.runs.protocol
import django.db.models.deletion
import django.db.models.functions.datetime
import django_fsm
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('tasks', '0001_initial'),
        ('tasks', '0002_epochs'),
        ('tasks', '0003_suspend_and_retry'),
        ('tasks', '0004_run_protocol'),
        ('tasks', '0005_lease_process'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('datasets', '0001_schema'),
        ('registry', '0001_schema'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='StageRun',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(help_text='A stage, or validation, synthesis, explaining.', max_length=16)),
                ('subject', models.CharField(blank=True, max_length=64)),
                ('payload', models.JSONField(default=dict)),
                ('queue', models.CharField(max_length=32)),
                ('iteration', models.PositiveIntegerField(default=0)),
                ('attempt', models.PositiveIntegerField(default=1)),
                ('losses', models.PositiveIntegerField(db_default=0, default=0, help_text='Attempts before this one that were lost in a row.')),
                ('protocol', models.PositiveSmallIntegerField(db_default=1, default=controlcenter.platform.runs.protocol.current, help_text='Workers whose code speaks an older protocol leave the run to others.')),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'failed by its own fault'), ('lost', 'its worker was lost; tried again'), ('released', 'handed back; another attempt goes on from there'), ('cancelled', 'Cancelled')], db_index=True, default='queued', max_length=16)),
                ('epoch', models.BigIntegerField(null=True)),
                ('lease_owner', models.CharField(blank=True, max_length=200)),
                ('lease_machine', models.CharField(blank=True, db_default='', max_length=200)),
                ('lease_pid', models.PositiveIntegerField(null=True)),
                ('lease_expires_at', models.DateTimeField(null=True)),
                ('heartbeat_at', models.DateTimeField(null=True)),
                ('progress', models.JSONField(default=dict)),
                ('metrics', models.JSONField(default=dict)),
                ('error', models.TextField(blank=True, help_text='One sentence for the operator.')),
                ('traceback', models.TextField(blank=True)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('rank_at', models.DateTimeField(help_text='Where it stands among those that wait for its pool, as a time; null: as old as it is.', null=True)),
                ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'tasks_run',
                'ordering': ['created_at'],
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Task',
            fields=[
                ('workflow', models.CharField(choices=[('refresh', 'Refresh'), ('fusion', 'Fusion'), ('standard', 'Standard'), ('continuous', 'Continuous')], max_length=16)),
                ('mode', models.CharField(choices=[('full_retrain', 'Full Retrain'), ('embedding_only', 'Embedding Only')], default='full_retrain', max_length=16)),
                ('state', django_fsm.FSMField(choices=[('pending', 'pending'), ('optimizing', 'optimizing'), ('building', 'building'), ('training', 'training'), ('embedding', 'embedding'), ('evaluating', 'evaluating'), ('looping', 'looping'), ('suspended', 'suspended'), ('completed', 'completed'), ('failed', 'failed'), ('cancelled', 'cancelled')], db_index=True, default='pending', max_length=50, protected=True)),
                ('left_state', models.CharField(blank=True, editable=False, max_length=16)),
                ('version', models.PositiveIntegerField(default=0, editable=False)),
                ('iteration', models.PositiveIntegerField(default=0, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('parameters', models.JSONField(default=dict)),
                ('priority', models.SmallIntegerField(default=0, help_text='Higher goes first.')),
                ('idempotency_key', models.CharField(blank=True, max_length=200)),
                ('request_hash', models.CharField(blank=True, max_length=64)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('cancel_requested_at', models.DateTimeField(null=True)),
                ('cancel_requested_by', models.CharField(blank=True, max_length=150)),
                ('suspend_requested_at', models.DateTimeField(null=True)),
                ('suspend_requested_by', models.CharField(blank=True, max_length=150)),
                ('error', models.TextField(blank=True, help_text='One sentence for the operator.')),
                ('metrics', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('base_version', models.ForeignKey(help_text='Model version that embedding_only and fusion start from.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.modelversion')),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='tasks', to='datasets.dataset')),
                ('retry_of', models.ForeignKey(help_text='The task that failed, whose finished stages this one takes over.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='retries', to='tasks.task')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='TaskEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=16)),
                ('data', models.JSONField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('task', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='tasks.task')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Transition',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(choices=[('pending', 'pending'), ('optimizing', 'optimizing'), ('building', 'building'), ('training', 'training'), ('embedding', 'embedding'), ('evaluating', 'evaluating'), ('looping', 'looping'), ('suspended', 'suspended'), ('completed', 'completed'), ('failed', 'failed'), ('cancelled', 'cancelled')], max_length=16)),
                ('target', models.CharField(choices=[('pending', 'pending'), ('optimizing', 'optimizing'), ('building', 'building'), ('training', 'training'), ('embedding', 'embedding'), ('evaluating', 'evaluating'), ('looping', 'looping'), ('suspended', 'suspended'), ('completed', 'completed'), ('failed', 'failed'), ('cancelled', 'cancelled')], max_length=16)),
                ('actor', models.CharField(max_length=150)),
                ('reason', models.TextField(blank=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('task', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='transitions', to='tasks.task')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key', ''), _negated=True), fields=('workspace', 'idempotency_key'), name='one_task_a_key'),
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('optimizing', 'building', 'training', 'embedding', 'evaluating', 'looping'))), fields=('workspace',), name='one_active_task_a_workspace'),
        ),
    ]

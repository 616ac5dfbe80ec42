"""The tables of this room, as the migrations that it replaces left them."""

import controlcenter.platform.runs.protocol
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
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
        ('artifacts', '0001_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='Chore',
            fields=[
                ('name', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('last_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': 'tasks_chore',
            },
        ),
        migrations.CreateModel(
            name='Outbox',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job', models.CharField(help_text='Name of the Celery task.', max_length=100)),
                ('queue', models.CharField(max_length=32)),
                ('run_id', models.UUIDField()),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('sent_at', models.DateTimeField(null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('error', models.TextField(blank=True)),
            ],
            options={
                'verbose_name_plural': 'outbox',
                'db_table': 'tasks_outbox',
                'indexes': [models.Index(condition=models.Q(('sent_at__isnull', True)), fields=['available_at'], name='outbox_unsent')],
            },
        ),
        migrations.CreateModel(
            name='Run',
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
                ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('owner_id', models.UUIDField(db_column='task_id', db_index=True, null=True)),
                ('checkpoint', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='artifacts.artifact')),
                ('reuses', models.ForeignKey(help_text='The finished run of a task before, whose artifacts stand for those of this one.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='runs.run')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace')),
            ],
            options={
                'db_table': 'tasks_run',
                'ordering': ['created_at'],
                'indexes': [models.Index(fields=['status', 'lease_expires_at'], name='run_leases')],
                'constraints': [models.UniqueConstraint(fields=('owner_id', 'iteration', 'kind', 'attempt'), name='one_run_an_attempt'), models.UniqueConstraint(condition=models.Q(('status__in', ['queued', 'running'])), fields=('owner_id',), name='one_live_run_a_task'), models.UniqueConstraint(condition=models.Q(('status', 'queued'), ('owner_id__isnull', True)), fields=('kind', 'subject'), name='one_queued_run_a_subject')],
            },
        ),
        migrations.RunSQL('CREATE SEQUENCE tasks_run_epoch', 'DROP SEQUENCE tasks_run_epoch'),
    ]

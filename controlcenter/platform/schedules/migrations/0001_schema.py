"""The tables of this room, as the migrations that it replaces left them."""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('schedules', '0001_initial'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('datasets', '0001_schema'),
        ('registry', '0001_schema'),
        ('tasks', '0001_schema'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('cron', models.CharField(help_text='Minute, hour, day of month, month, day of week.', max_length=100)),
                ('timezone', models.CharField(default='UTC', help_text='Such as Europe/Berlin.', max_length=64)),
                ('workflow', models.CharField(choices=[('refresh', 'Refresh'), ('fusion', 'Fusion'), ('standard', 'Standard'), ('continuous', 'Continuous')], max_length=16)),
                ('parameters', models.JSONField(default=dict)),
                ('priority', models.SmallIntegerField(default=0, help_text='Higher goes first.')),
                ('missed', models.CharField(choices=[('make_up', 'make up once: one task for the latest'), ('skip', 'skip')], default='make_up', max_length=16)),
                ('overlap', models.CharField(choices=[('wait', 'wait until it is over'), ('queue', 'create another task, which queues'), ('skip', 'skip')], default='wait', max_length=16)),
                ('enabled', models.BooleanField(default=True)),
                ('decided_until', models.DateTimeField(editable=False)),
                ('next_at', models.DateTimeField(editable=False, help_text='The next fire time; null while it is disabled.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('base_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.modelversion')),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='datasets.dataset')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Fire',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('fire_time', models.DateTimeField()),
                ('outcome', models.CharField(choices=[('created', 'a task was created'), ('made_up', 'missed, and its task was created later'), ('waiting', "waits until the schedule's last task is over"), ('skipped', 'left out, as the schedule says'), ('refused', 'the task could not be created')], max_length=16)),
                ('reason', models.TextField(blank=True)),
                ('passed_over', models.PositiveIntegerField(default=0, help_text='Fire times before this one that nobody looked at; it stands for them.')),
                ('asked_by', models.CharField(blank=True, help_text='Who fired by hand; empty: the clock.', max_length=150)),
                ('key', models.CharField(blank=True, max_length=200)),
                ('decided_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('task', models.OneToOneField(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='fire', to='tasks.task')),
                ('schedule', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='fires', to='schedules.schedule')),
            ],
            options={
                'ordering': ['-fire_time'],
            },
        ),
        migrations.AddIndex(
            model_name='schedule',
            index=models.Index(condition=models.Q(('enabled', True)), fields=['next_at'], name='schedules_due'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.UniqueConstraint(fields=('workspace', 'name'), name='one_schedule_a_name'),
        ),
        migrations.AddConstraint(
            model_name='fire',
            constraint=models.UniqueConstraint(fields=('schedule', 'fire_time'), name='one_fire_a_time'),
        ),
        migrations.AddConstraint(
            model_name='fire',
            constraint=models.UniqueConstraint(condition=models.Q(('outcome', 'waiting')), fields=('schedule',), name='one_waiting_fire'),
        ),
        migrations.AddConstraint(
            model_name='fire',
            constraint=models.UniqueConstraint(condition=models.Q(('key', ''), _negated=True), fields=('schedule', 'key'), name='one_fire_a_key'),
        ),
    ]

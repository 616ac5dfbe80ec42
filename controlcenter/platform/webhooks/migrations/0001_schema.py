"""The tables of this room, as the migrations that it replaces left them."""

import controlcenter.platform.common.fields
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('webhooks', '0001_initial'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('tasks', '0001_schema'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('url', models.CharField(help_text='http or https, without user name and password.', max_length=2000)),
                ('states', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('pending', 'pending'), ('optimizing', 'optimizing'), ('building', 'building'), ('training', 'training'), ('embedding', 'embedding'), ('evaluating', 'evaluating'), ('looping', 'looping'), ('suspended', 'suspended'), ('completed', 'completed'), ('failed', 'failed'), ('cancelled', 'cancelled')], max_length=16), blank=True, default=list, help_text='States whose entering is told; empty: all.', size=None)),
                ('enabled', models.BooleanField(default=True)),
                ('secret_salt', models.CharField(editable=False, max_length=64)),
                ('secret_digest', models.CharField(editable=False, max_length=64)),
                ('previous_salt', models.CharField(blank=True, editable=False, max_length=64)),
                ('rotated_at', models.DateTimeField(editable=False, null=True)),
                ('failing_since', models.DateTimeField(editable=False, help_text='No attempt went well since; null: the last one did.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['created_at'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('payload', controlcenter.platform.common.fields.OrderedJSONField()),
                ('status', models.CharField(choices=[('pending', 'waits, or is tried again'), ('delivered', 'the receiver answered 2xx'), ('failed', 'given up after the last attempt'), ('dropped', 'its webhook was disabled before it was delivered')], default='pending', max_length=16)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('earlier_attempts', models.PositiveIntegerField(default=0, editable=False, help_text='Those before the last replay.')),
                ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('leased_until', models.DateTimeField(editable=False, null=True)),
                ('last_status_code', models.PositiveSmallIntegerField(null=True)),
                ('last_error', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('first_attempt_at', models.DateTimeField(null=True)),
                ('last_attempt_at', models.DateTimeField(null=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('task', models.ForeignKey(help_text='Null: ping.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tasks.task')),
                ('transition', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tasks.transition')),
                ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='webhooks.webhook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ['-created_at', '-transition_id'],
            },
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.UniqueConstraint(fields=('workspace', 'name'), name='one_webhook_a_name'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('status', 'pending')), fields=['webhook', 'available_at'], name='webhook_pending'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('status', 'pending')), fields=['webhook', 'task', 'transition'], name='webhook_pending_order'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['webhook', '-created_at'], name='webhook_history'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['created_at'], name='webhook_age'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(fields=('webhook', 'transition'), name='one_delivery_a_transition'),
        ),
    ]

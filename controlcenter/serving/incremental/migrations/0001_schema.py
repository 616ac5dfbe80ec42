"""The tables of this room, as the migrations that it replaces left them."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('incremental', '0001_initial'),
        ('incremental', '0002_replaced_seen'),
        ('incremental', '0003_graph_files'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('artifacts', '0001_schema'),
        ('registry', '0001_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='Loop',
            fields=[
                ('workspace', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='loop', serialize=False, to='accounts.workspace')),
                ('graph_generation', models.PositiveBigIntegerField(help_text='The generation that these files are of; else they are not of the present one.', null=True)),
                ('generation', models.PositiveBigIntegerField(db_default=0, default=0, help_text='Rises each time a task replaces the profiles.')),
                ('wanted', models.BooleanField(db_default=False, default=False)),
                ('changed_by', models.CharField(blank=True, db_default='', max_length=150)),
                ('changed_at', models.DateTimeField(null=True)),
                ('trouble', models.TextField(blank=True, db_default='', help_text='Why it stopped by itself: one sentence.')),
                ('epoch', models.BigIntegerField(help_text='The claim that owns it, or did.', null=True)),
                ('serving', models.BooleanField(db_default=False, default=False, help_text='It has caught up and answers readers.')),
                ('ticks', models.PositiveBigIntegerField(db_default=0, default=0, help_text='Transactions of this owner since it had caught up.')),
                ('seen', models.TextField(db_default='3:3:', default='3:3:')),
                ('seen_at', models.DateTimeField(help_text='When that snapshot was taken.', null=True)),
                ('replaced_seen', models.TextField(db_default='3:3:', default='3:3:', help_text='What the task that replaced the profiles had seen.')),
                ('stale_since', models.DateTimeField(help_text='Since when the oldest stale row is stale; null: none is.', null=True)),
                ('events', models.PositiveBigIntegerField(db_default=0, default=0)),
                ('edges', models.PositiveBigIntegerField(db_default=0, default=0)),
                ('backlog', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                ('audit_at', models.DateTimeField(null=True)),
                ('audit_rows', models.PositiveIntegerField(null=True)),
                ('audit_error', models.FloatField(help_text='Largest relative error that was found.', null=True)),
                ('checkpoint_at', models.DateTimeField(null=True)),
                ('checkpoint', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='artifacts.artifact')),
                ('graph_files', models.ManyToManyField(help_text='The graph that the profiles are of.', related_name='loops', to='artifacts.artifact')),
                ('version', models.ForeignKey(help_text='The model version that the profiles are of.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.modelversion')),
            ],
            options={
                'verbose_name': 'incremental refresh',
                'verbose_name_plural': 'incremental refresh',
            },
        ),
        migrations.CreateModel(
            name='RefreshRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_ids', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), size=None)),
                ('asked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'db_table': 'incremental_ask',
                'indexes': [models.Index(fields=['workspace', 'id'], name='ask_workspace')],
            },
        ),
    ]

"""The tables of this room, as the migrations that it replaces left them."""

import controlcenter.platform.common.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('datasets', '0001_initial'),
        ('datasets', '0002_mapping_keeps_its_order'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('artifacts', '0001_schema'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Dataset',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('state', models.CharField(choices=[('generating', 'a worker writes the synthetic population'), ('validating', 'a worker checks every row'), ('ready', 'tasks may use it'), ('invalid', 'cannot be used: see the error and the report'), ('deleted', 'its objects are gone, its row stays for the lineage')], db_index=True, max_length=16)),
                ('filename', models.CharField(max_length=255)),
                ('size', models.BigIntegerField(help_text='Bytes as uploaded.', null=True)),
                ('sha256', models.CharField(blank=True, max_length=64)),
                ('mapping', controlcenter.platform.common.fields.OrderedJSONField(help_text='What the columns mean; null: standard tables.', null=True)),
                ('schema', models.JSONField(help_text='The feature contract of its checked tables.', null=True)),
                ('schema_hash', models.CharField(blank=True, max_length=64)),
                ('report', models.JSONField(help_text='The quality report.', null=True)),
                ('error', models.TextField(blank=True)),
                ('synthesis', models.JSONField(help_text='Configuration of a synthetic population.', null=True)),
                ('checked_run_id', models.UUIDField(null=True)),
                ('checked_epoch', models.BigIntegerField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('validated_at', models.DateTimeField(null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('source', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='derived', to='datasets.dataset')),
                ('upload', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='artifacts.artifact')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
    ]

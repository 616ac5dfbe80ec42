"""The tables of this room, as the migrations that it replaces left them."""

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
import pgvector.django.vector
from pgvector.django import VectorExtension
from django.db import migrations, models

COLUMN_AND_ROOM = """
ALTER TABLE profiles_profile ADD COLUMN changed_xid xid8;
ALTER TABLE profiles_profile SET (fillfactor = 70);
"""


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('profiles', '0001_initial'),
        ('profiles', '0002_initial'),
        ('profiles', '0003_adding_counts'),
        ('profiles', '0004_scored_counts'),
        ('profiles', '0005_scores_nulls_last'),
        ('profiles', '0006_changed'),
        ('profiles', '0007_explanation_views'),
        ('profiles', '0008_room_for_updates'),
        ('profiles', '0009_exact_look_alikes'),
        ('profiles', '0010_one_index_is_enough'),
        ('profiles', '0011_peers_come_with_their_events'),
        ('profiles', '0012_explained_revision'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
        ('registry', '0001_schema'),
    ]

    operations = [
        VectorExtension(),
        migrations.CreateModel(
            name='Profile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.CharField(max_length=200)),
                ('attributes', models.JSONField(default=dict)),
                ('label', models.BooleanField(help_text='The uploaded label, if any.', null=True)),
                ('base_counts', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                ('live_counts', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                ('scored_counts', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict, help_text='Events by type as they were when the score was made.')),
                ('call_peers', models.PositiveIntegerField(db_default=0, default=0)),
                ('last_event_at', models.DateTimeField(null=True)),
                ('live_last_event_at', models.DateTimeField(null=True)),
                ('embedding', pgvector.django.vector.VectorField(dimensions=64, null=True)),
                ('rule_hits', models.JSONField(help_text='Rule name → hit or not.', null=True)),
                ('rule_score', models.FloatField(null=True)),
                ('model_score', models.FloatField(null=True)),
                ('gate', models.FloatField(help_text='Share of the rules in the score, 0 to 1.', null=True)),
                ('final_score', models.FloatField(null=True)),
                ('score_basis', models.CharField(blank=True, db_default='', max_length=32)),
                ('recommendations', models.JSONField(null=True)),
                ('rule_revision', models.PositiveIntegerField(null=True)),
                ('revision', models.PositiveBigIntegerField(db_default=1, default=1)),
                ('scored_at', models.DateTimeField(null=True)),
                ('changed_at', models.DateTimeField(help_text='When the first event of the user came that the score does not know.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('model_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='registry.modelversion')),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['user_id'],
            },
        ),
        migrations.CreateModel(
            name='Explanation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rule_revision', models.PositiveIntegerField()),
                ('profile_revision', models.PositiveBigIntegerField(help_text='Of the profile when it was asked.')),
                ('explained_revision', models.PositiveBigIntegerField(help_text='Of the profile that was explained; higher if it was scored meanwhile.', null=True)),
                ('view', models.CharField(choices=[('evidence', 'rules and kinds of evidence'), ('groups', 'rules, rule score, embedding, attributes'), ('flat', 'every feature of the fusion on its own')], db_default='evidence', default='evidence', max_length=16)),
                ('background', models.CharField(choices=[('sample', 'the stored sample of users'), ('zero', 'zeros, which no user has')], db_default='sample', default='sample', max_length=16)),
                ('state', models.CharField(choices=[('pending', 'a worker will compute it'), ('ready', 'Ready'), ('failed', 'Failed')], default='pending', max_length=16)),
                ('result', models.JSONField(null=True)),
                ('error', models.TextField(blank=True)),
                ('requested_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('ready_at', models.DateTimeField(null=True)),
                ('model_version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='registry.modelversion')),
                ('profile', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='explanations', to='profiles.profile')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='CallPeer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.CharField(max_length=200)),
                ('peer_id', models.CharField(max_length=200)),
                ('in_dataset', models.BooleanField(db_default=False, default=False)),
                ('in_log', models.BooleanField(db_default=False, default=False)),
                ('workspace', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('workspace', 'user_id', 'peer_id'), name='one_peer')],
            },
        ),
        migrations.CreateModel(
            name='Item',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('type', models.CharField(max_length=32)),
                ('item_id', models.CharField(max_length=200)),
                ('attributes', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                ('embedding', pgvector.django.vector.VectorField(dimensions=64, null=True)),
                ('model_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='registry.modelversion')),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['item_id'],
                'constraints': [models.UniqueConstraint(fields=('workspace', 'type', 'item_id'), name='one_item_an_id')],
            },
        ),
        migrations.AddIndex(
            model_name='profile',
            index=models.Index(models.F('workspace'), models.OrderBy(models.F('final_score'), descending=True, nulls_last=True), name='profile_scores'),
        ),
        migrations.AddIndex(
            model_name='profile',
            index=django.contrib.postgres.indexes.GinIndex(fields=['attributes'], name='profile_attributes', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddConstraint(
            model_name='profile',
            constraint=models.UniqueConstraint(fields=('workspace', 'user_id'), name='one_profile_a_user'),
        ),
        migrations.AddIndex(
            model_name='explanation',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['requested_at'], name='explanation_pending'),
        ),
        migrations.AddConstraint(
            model_name='explanation',
            constraint=models.UniqueConstraint(fields=('profile', 'model_version', 'rule_revision', 'profile_revision', 'view', 'background'), name='one_explanation_a_score'),
        ),
        migrations.RunSQL(COLUMN_AND_ROOM, migrations.RunSQL.noop),
    ]

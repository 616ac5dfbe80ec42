"""Deliveries tell of any subject: they keep the ids of a task and a transition and know no more."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [('webhooks', '0001_schema')]

    operations = [
        migrations.AlterField(
            'webhook', 'states',
            django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), blank=True, default=list, help_text='States whose entering is told; empty: all.', size=None),
        ),
        migrations.RemoveConstraint('delivery', 'one_delivery_a_transition'),
        # The columns stay, their foreign keys go.
        migrations.AlterField(
            'delivery', 'task',
            models.ForeignKey(db_constraint=False, help_text='Null: ping.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tasks.task'),
        ),
        migrations.AlterField(
            'delivery', 'transition',
            models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tasks.transition'),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterModelOptions('delivery', {'ordering': ['-created_at', '-event_id'], 'verbose_name_plural': 'deliveries'}),
                migrations.RemoveIndex('delivery', 'webhook_pending_order'),
                migrations.RemoveField('delivery', 'task'),
                migrations.RemoveField('delivery', 'transition'),
                migrations.AddField('delivery', 'subject_id', models.UUIDField(db_column='task_id', db_index=True, help_text='Null: ping.', null=True)),
                migrations.AddField('delivery', 'event_id', models.BigIntegerField(db_column='transition_id', null=True)),
                migrations.AddIndex('delivery', models.Index(condition=models.Q(('status', 'pending')), fields=['webhook', 'subject_id', 'event_id'], name='webhook_pending_order')),
            ],
        ),
        migrations.AddConstraint('delivery', models.UniqueConstraint(fields=('webhook', 'subject_id', 'event_id'), name='one_delivery_an_event')),
    ]

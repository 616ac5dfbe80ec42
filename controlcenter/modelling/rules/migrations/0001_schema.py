"""The tables of this room, as the migrations that it replaces left them."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('rules', '0001_initial'),
    ]

    dependencies = [
        ('accounts', '0001_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='Rule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64, validators=[django.core.validators.RegexValidator('^[a-z][a-z0-9_]*$', 'a name is lower-case letters, digits and _')])),
                ('expression', models.TextField(help_text='For example: tenure_months < 12 and monthly_fee >= 70')),
                ('weight', models.FloatField(help_text='Above zero a match raises the score, below zero it lowers it. From -100 to 100.')),
                ('description', models.CharField(blank=True, max_length=300)),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('workspace', 'name'), name='one_rule_a_name')],
            },
        ),
        migrations.CreateModel(
            name='RuleRevision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('revision', models.PositiveIntegerField()),
                ('rules', models.JSONField(help_text='Name, expression and weight of each rule.')),
                ('actor', models.CharField(max_length=150)),
                ('change', models.CharField(max_length=200)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.workspace')),
            ],
            options={
                'ordering': ['-revision'],
                'constraints': [models.UniqueConstraint(fields=('workspace', 'revision'), name='one_rule_revision')],
            },
        ),
    ]

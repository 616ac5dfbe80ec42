from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [('runs', '0001_schema')]

    operations = [
        migrations.AddField(
            model_name='run',
            name='rank_at',
            field=models.DateTimeField(help_text='Where it stands among those that wait for its pool, as a time; null: as old as it is.', null=True),
        ),
    ]

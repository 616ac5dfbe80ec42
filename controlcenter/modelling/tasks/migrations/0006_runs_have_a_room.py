from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [('tasks', '0005_lease_process')]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel('Run'),
                migrations.DeleteModel('Outbox'),
                migrations.DeleteModel('Chore'),
            ],
        ),
    ]

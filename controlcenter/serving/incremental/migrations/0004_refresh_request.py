from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [('incremental', '0003_graph_files')]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel('Ask', 'RefreshRequest'),
                migrations.AlterModelTable('RefreshRequest', 'incremental_ask'),
            ],
        ),
    ]

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "controlcenter.webhooks"
    label = "webhooks"

    def ready(self) -> None:
        from controlcenter.tasks.models import transition_taken
        from controlcenter.webhooks.outbox import write

        transition_taken.register(write)

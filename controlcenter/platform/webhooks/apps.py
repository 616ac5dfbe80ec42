from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "controlcenter.platform.webhooks"
    label = "webhooks"

    def ready(self) -> None:
        from controlcenter.modelling.tasks.models import transition_taken
        from controlcenter.platform.webhooks.outbox import write

        transition_taken.register(write)

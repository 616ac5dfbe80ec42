from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "controlcenter.webhooks"
    label = "webhooks"

    def ready(self) -> None:
        from controlcenter.tasks.listeners import register
        from controlcenter.webhooks.outbox import write

        register(write)

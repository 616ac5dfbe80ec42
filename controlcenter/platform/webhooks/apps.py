from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "controlcenter.platform.webhooks"
    label = "webhooks"

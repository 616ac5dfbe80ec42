from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "controlcenter.platform.runs"
    label = "runs"

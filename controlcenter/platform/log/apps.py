from django.apps import AppConfig


class LogConfig(AppConfig):
    name = "controlcenter.platform.log"
    label = "log"

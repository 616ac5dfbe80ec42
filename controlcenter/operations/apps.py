from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "controlcenter.operations"
    label = "operations"

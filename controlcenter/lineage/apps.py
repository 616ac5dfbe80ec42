from django.apps import AppConfig


class LineageConfig(AppConfig):
    name = "controlcenter.lineage"
    label = "lineage"

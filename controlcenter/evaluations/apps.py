from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    name = "controlcenter.evaluations"
    label = "evaluations"

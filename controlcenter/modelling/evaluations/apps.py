from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    name = "controlcenter.modelling.evaluations"
    label = "evaluations"

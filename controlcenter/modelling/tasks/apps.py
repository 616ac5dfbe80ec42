from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "controlcenter.modelling.tasks"
    label = "tasks"

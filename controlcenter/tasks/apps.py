from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "controlcenter.tasks"
    label = "tasks"

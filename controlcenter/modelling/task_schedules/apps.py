from django.apps import AppConfig


class TaskSchedulesConfig(AppConfig):
    name = "controlcenter.modelling.task_schedules"
    label = "task_schedules"

    def ready(self) -> None:
        from controlcenter.modelling.task_schedules.action import TASKS
        from controlcenter.platform.schedules import actions

        actions.register(TASKS)

from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    name = "controlcenter.schedules"
    label = "schedules"

    def ready(self) -> None:
        from controlcenter.schedules.firing import fire_due
        from controlcenter.tasks.reaper import chores

        chores.register(fire_due)

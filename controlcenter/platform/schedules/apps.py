from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    name = "controlcenter.platform.schedules"
    label = "schedules"

    def ready(self) -> None:
        from controlcenter.platform.runs.reaper import chores
        from controlcenter.platform.schedules.firing import fire_due

        chores.register(fire_due)

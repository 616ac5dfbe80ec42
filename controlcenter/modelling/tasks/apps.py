from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "controlcenter.modelling.tasks"
    label = "tasks"

    def ready(self) -> None:
        from controlcenter.modelling.datasets.services import deleting
        from controlcenter.modelling.tasks import states
        from controlcenter.modelling.tasks.models import transition_taken
        from controlcenter.modelling.tasks.run_owner import register_kinds
        from controlcenter.modelling.tasks.webhook_events import TRANSITIONS, tell
        from controlcenter.modelling.tasks.working_data import refuse_if_needed
        from controlcenter.platform.common.formatting import register_busy
        from controlcenter.platform.webhooks import subjects

        register_kinds()
        register_busy(states.ACTIVE)
        deleting.register(refuse_if_needed)
        subjects.register(TRANSITIONS)
        transition_taken.register(tell)

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "controlcenter.events"
    label = "events"

    def ready(self) -> None:
        from controlcenter.events.queries import first_unseen
        from controlcenter.incremental.freshness import register_log

        register_log(first_unseen)

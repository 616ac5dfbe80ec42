from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "controlcenter.serving.ingestion"
    label = "events"

    def ready(self) -> None:
        from controlcenter.serving.incremental.freshness import register_log
        from controlcenter.serving.ingestion.queries import first_unseen

        register_log(first_unseen)

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "controlcenter.serving.ingestion"
    label = "events"

    def ready(self) -> None:
        from controlcenter.platform.log.consumers import Consumer, register
        from controlcenter.serving.ingestion.graph_consumer import NAME, GraphParticipant

        register(Consumer(NAME, participant=GraphParticipant))

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "controlcenter.events"
    label = "events"

from django.apps import AppConfig


class IncrementalConfig(AppConfig):
    name = "controlcenter.serving.incremental"
    label = "incremental"

    def ready(self) -> None:
        from controlcenter.serving.incremental.services import register_kind

        register_kind()

from django.apps import AppConfig


class IncrementalConfig(AppConfig):
    name = "controlcenter.incremental"
    label = "incremental"

    def ready(self) -> None:
        from controlcenter.incremental.switching import register_kind

        register_kind()

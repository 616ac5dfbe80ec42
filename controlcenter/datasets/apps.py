from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "controlcenter.datasets"
    label = "datasets"

    def ready(self) -> None:
        from controlcenter.datasets.services import register_kinds

        register_kinds()

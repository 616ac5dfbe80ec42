from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "controlcenter.modelling.datasets"
    label = "datasets"

    def ready(self) -> None:
        from controlcenter.modelling.datasets.services import register_kinds

        register_kinds()

from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    name = "controlcenter.modelling.evaluations"
    label = "evaluations"

    def ready(self) -> None:
        from controlcenter.modelling.evaluations.queries import report_links
        from controlcenter.modelling.tasks.pages.links import register_links

        register_links(report_links)

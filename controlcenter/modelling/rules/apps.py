from django.apps import AppConfig


class RulesConfig(AppConfig):
    name = "controlcenter.modelling.rules"
    label = "rules"

    def ready(self) -> None:
        from controlcenter.modelling.rules.services import add_defaults
        from controlcenter.platform.accounts.services import workspace_created

        workspace_created.register(add_defaults)

from django.apps import AppConfig


class RulesConfig(AppConfig):
    name = "controlcenter.rules"
    label = "rules"

    def ready(self) -> None:
        from controlcenter.accounts.services import workspace_created
        from controlcenter.rules.services import add_defaults

        workspace_created.register(add_defaults)

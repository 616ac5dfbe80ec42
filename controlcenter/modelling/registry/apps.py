from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "controlcenter.modelling.registry"
    label = "registry"

    def ready(self) -> None:
        from controlcenter.modelling.registry.services import follow_rules
        from controlcenter.modelling.rules.services import rules_changed

        rules_changed.register(follow_rules)

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "controlcenter.registry"
    label = "registry"

    def ready(self) -> None:
        from controlcenter.registry.services import follow_rules
        from controlcenter.rules.services import rules_changed

        rules_changed.register(follow_rules)

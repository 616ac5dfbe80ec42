from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "controlcenter.modelling.rollouts"
    label = "rollouts"

    def ready(self) -> None:
        from controlcenter.modelling.rollouts.services import follow_rules
        from controlcenter.modelling.rules.services import rules_changed

        rules_changed.register(follow_rules)

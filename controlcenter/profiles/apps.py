from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    name = "controlcenter.profiles"
    label = "profiles"

    def ready(self) -> None:
        from controlcenter.profiles.explanations import register_kind

        register_kind()

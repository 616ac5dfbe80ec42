from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    name = "controlcenter.serving.profiles"
    label = "profiles"

    def ready(self) -> None:
        from controlcenter.serving.profiles.explanations import register_kind

        register_kind()

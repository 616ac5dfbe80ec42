from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    name = "controlcenter.serving.profiles"
    label = "profiles"

    def ready(self) -> None:
        from controlcenter.modelling.evaluations.user_pages import register_user_pages
        from controlcenter.serving.profiles.explanations import register_kind
        from controlcenter.serving.profiles.queries import user_pages

        register_kind()
        register_user_pages(user_pages)

from django.apps import AppConfig


class ArtifactsConfig(AppConfig):
    name = "controlcenter.platform.artifacts"
    label = "artifacts"

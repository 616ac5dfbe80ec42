from django.apps import AppConfig


class ArtifactsConfig(AppConfig):
    name = "controlcenter.artifacts"
    label = "artifacts"

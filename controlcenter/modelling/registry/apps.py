from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "controlcenter.modelling.registry"
    label = "registry"

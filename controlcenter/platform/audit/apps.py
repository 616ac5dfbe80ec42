from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "controlcenter.platform.audit"
    label = "audit"

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "controlcenter.audit"
    label = "audit"

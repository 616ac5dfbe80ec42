from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "controlcenter.platform.accounts"
    label = "accounts"

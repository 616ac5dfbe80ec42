from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "controlcenter.accounts"
    label = "accounts"

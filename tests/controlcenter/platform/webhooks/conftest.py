"""Loads the fixtures of this folder after the settings, as ``tests/controlcenter/conftest.py``."""

import importlib

import pytest
from django.conf import settings


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if settings.configured and not config.pluginmanager.has_plugin("webhook_fixtures"):
        module = importlib.import_module("webhook_fixtures")
        config.pluginmanager.register(module, "webhook_fixtures")

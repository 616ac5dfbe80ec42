"""Loads the fixtures of this folder after the settings, as ``tests/controlcenter/conftest.py``."""

import importlib

import pytest
from django.conf import settings


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if settings.configured and not config.pluginmanager.has_plugin("admin_fixtures"):
        config.pluginmanager.register(importlib.import_module("admin_fixtures"), "admin_fixtures")

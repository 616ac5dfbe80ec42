"""Loads the fixtures of the incremental refresh after the settings: importing them needs Django."""

import importlib

import pytest
from django.conf import settings


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if settings.configured and not config.pluginmanager.has_plugin("incremental_fixtures"):
        module = importlib.import_module("incremental_fixtures")
        config.pluginmanager.register(module, "incremental_fixtures")

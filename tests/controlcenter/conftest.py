"""Loads the fixtures of this folder after the settings: importing them needs Django.

pytest reads this file before ``tests/conftest.py`` has started the servers.
"""

import importlib

import pytest
from django.conf import settings


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if settings.configured and not config.pluginmanager.has_plugin("controlcenter_fixtures"):
        module = importlib.import_module("controlcenter_fixtures")
        config.pluginmanager.register(module, "controlcenter_fixtures")

"""The relay with faults: ``python -m tests.chaos.relay``."""

import os
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from controlcenter.platform.runs import reaper  # noqa: E402
from tests.chaos import faults  # noqa: E402

if "CHAOS_UNCLAIMED_SECONDS" in os.environ:
    reaper.UNCLAIMED_AFTER = timedelta(seconds=float(os.environ["CHAOS_UNCLAIMED_SECONDS"]))
faults.install_in_relay()
call_command("relay")

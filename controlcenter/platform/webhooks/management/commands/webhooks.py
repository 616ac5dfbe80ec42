"""Send what webhooks are told, until it is told to stop."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from controlcenter.platform.webhooks.sender import Sender


class Command(BaseCommand):
    """Runs until it is told to stop. Several may run; each delivery is claimed by one of them."""

    help = "Send the deliveries of webhooks."

    def handle(self, *args: Any, **options: Any) -> None:
        sender = Sender()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: sender.stop())
        sender.run()

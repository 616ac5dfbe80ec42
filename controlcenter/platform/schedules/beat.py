"""Beat: its entries lie in the database, and it shows that it is alive."""

from typing import Any

from django.conf import settings
from django_celery_beat.schedulers import DatabaseScheduler

ALIVE = settings.DATA_DIR / "beat.alive"


class Scheduler(DatabaseScheduler):
    """django-celery-beat's scheduler, which touches a file whenever it has looked."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        seconds: float = super().tick(*args, **kwargs)
        ALIVE.touch()
        return seconds

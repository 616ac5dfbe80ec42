"""The Celery application: a message is a hint to look; PostgreSQL owns the truth."""

import math
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")

HARD_LIMIT_SECONDS = 24 * 3600
SOFT_LIMIT_SECONDS = int(0.9 * HARD_LIMIT_SECONDS)
MEMORY_KIB = 3 * 2**20
"""A pool process that is larger after a job is replaced by a fresh one."""

DATABASE_REUSE = 1000
"""Jobs that a worker's process does on one connection to the database."""

VISIBILITY_SECONDS = math.ceil(1.1 * HARD_LIMIT_SECONDS)

app = Celery("ups")


def every(seconds: int, task: str) -> dict[str, Any]:
    """An entry of beat; what no worker took until the next one comes is dropped."""
    options = {"queue": "control", "expire_seconds": seconds}  # its name in django-celery-beat
    return {"task": task, "schedule": float(seconds), "options": options}


def configure() -> None:
    """Set the application up from Django's settings."""
    from django.conf import settings

    app.conf.update(
        broker_url=settings.BROKER_URL,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=HARD_LIMIT_SECONDS,
        task_soft_time_limit=SOFT_LIMIT_SECONDS,
        task_ignore_result=True,
        task_track_started=True,
        task_default_queue="control",
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_max_memory_per_child=MEMORY_KIB,
        worker_send_task_events=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        result_expires=None,  # there are no results to clean up
        beat_scheduler="controlcenter.platform.schedules.beat:Scheduler",
        beat_schedule={
            "reap": every(15, "workers.reap"),
            "fire": every(15, "workers.fire"),
            "read-log": every(5, "workers.read_log"),
            "sweep": every(3600, "workers.sweep"),
        },
        timezone="UTC",
        CELERY_DB_REUSE_MAX=DATABASE_REUSE,  # its name in Celery's part for Django
    )


configure()


@setup_logging.connect
def use_django_logging(**_: object) -> None:
    """Structured logs, as in the web process."""
    from logging.config import dictConfig

    from django.conf import settings

    dictConfig(settings.LOGGING)

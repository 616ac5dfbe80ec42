"""Which process this is, and the runs of processes that are no more."""

import os
import socket
from functools import cache
from pathlib import Path

import structlog
from django.db import DatabaseError

from controlcenter.platform.runs import reaper

log = structlog.get_logger(__name__)


@cache
def machine() -> str:
    """Where process ids mean the same as here: this boot of the kernel and its namespace of ids.

    Empty where the kernel does not tell (it is not Linux): there runs wait for their lease.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def name() -> str:
    """Of this process, for people."""
    return f"{socket.gethostname()}:{os.getpid()}"


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def release_dead() -> None:
    """Release what processes of this machine held when they died: nobody waits for their lease.

    A process looks when it starts, which is what happens first after another has died.
    """
    if not machine():
        return
    try:
        released = reaper.release_dead(machine(), exists)
    except DatabaseError as error:
        log.warning("processes.not_looked", error=str(error).strip())
        return
    if released:
        log.info("processes.released", runs=released)

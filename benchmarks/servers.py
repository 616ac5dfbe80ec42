"""Real servers for a benchmark, started for it and removed with it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import REPOSITORY
from controlcenter.embedded import locate


@contextmanager
def servers(*, durable: bool = False) -> Iterator[None]:
    """PostgreSQL, broker and object store in a folder of their own; Django is set up on them.

    Args:
        durable: They write to the disk before they answer, as in production.

    Raises:
        RuntimeError: if they don't start, with the reason.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="ups-benchmark-"))
    data_dir.chmod(0o711)  # PostgreSQL may run by an account that must pass through
    try:
        life = [] if durable else ["--ephemeral-for", str(os.getpid())]
        started = embedded("servers-up", *life, data_dir=data_dir)
        if started.returncode:
            raise RuntimeError(f"the servers of the benchmark did not start:\n{started.stderr}")
        set_up(data_dir)
        yield
    finally:
        embedded("down", data_dir=data_dir)
        shutil.rmtree(data_dir, ignore_errors=True)


def embedded(*words: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the embedded system, blind to settings of the surroundings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
    return subprocess.run(
        [sys.executable, "-m", "controlcenter.embedded", *words],
        cwd=REPOSITORY,
        env={**clean, "UPS_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )


def set_up(data_dir: Path) -> None:
    """Point the settings at the servers and make the tables."""
    os.environ |= {
        **locate.embedded_urls(data_dir),
        "UPS_SECRET_KEY": locate.secrets(data_dir)["django_secret_key"],
        "UPS_DATA_DIR": str(data_dir),
        "DJANGO_SETTINGS_MODULE": "controlcenter.settings",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

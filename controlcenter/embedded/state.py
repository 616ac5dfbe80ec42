"""What a data directory remembers: secrets, ports, and which processes were started."""

import json
import os
import random
import secrets as randomness
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from controlcenter.embedded.children import Identity

PORT_RANGE = range(20_000, 32_000)  # below the range that outgoing connections take theirs from
SECRETS = (
    "django_secret_key",
    "operator_password",
    "flower_password",
    "postgres_password",
    "valkey_password",
    "s3_access_key",
    "s3_secret_key",
)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A process that was started: who it is, and the hash of the command that started it."""

    pid: int
    started: int
    command: str

    @property
    def identity(self) -> Identity:
        """The process, safe against a reused pid."""
        return Identity(pid=self.pid, started=self.started)


@dataclass(kw_only=True)
class State:
    """The content of ``state.json``, written by the supervisor alone."""

    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Recorded] = field(default_factory=dict)
    supervisor: Recorded | None = None
    mode: str = ""
    ready: bool = False
    error: str = ""

    @classmethod
    def load(cls, data_dir: Path) -> "State":
        """Read the state, or an empty one where nothing was ever started."""
        try:
            content = json.loads((data_dir / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        content["processes"] = {n: Recorded(**r) for n, r in content["processes"].items()}
        content["supervisor"] = Recorded(**content["supervisor"]) if content["supervisor"] else None
        return cls(**content)

    def save(self, data_dir: Path) -> None:
        """Write the state so that a reader never sees half of it."""
        write_private(data_dir / "state.json", asdict(self))


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner may read, all of it or nothing."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    partial.replace(path)


def ensure_secrets(data_dir: Path) -> dict[str, str]:
    """Read the secrets of a data directory, making those that are missing."""
    path = data_dir / "secrets.json"
    secrets_by_name = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    missing = [name for name in SECRETS if name not in secrets_by_name]
    if missing:
        secrets_by_name |= {name: randomness.token_hex(24) for name in missing}
        write_private(path, secrets_by_name)
    return {name: str(secrets_by_name[name]) for name in SECRETS}


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(*, preferred: Iterable[int], reserved: Iterable[int]) -> int:
    """The first wanted port that is free, else a random free one.

    Args:
        preferred: in order of preference.
        reserved: ports that are promised to somebody else.

    Raises:
        RuntimeError: if no free port was found.
    """
    avoid = set(reserved)
    dice = random.SystemRandom()
    guesses = (dice.choice(PORT_RANGE) for _ in range(500))
    for port in [*preferred, *guesses]:
        if port not in avoid and is_free(port):
            return port
    raise RuntimeError(f"no free port between {PORT_RANGE.start} and {PORT_RANGE.stop}")

"""Where the embedded servers are, and the secrets that were made for them.

Imported by the settings, so it knows neither Django nor the servers.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUCKET = "ups"
DATABASE = "ups"
NOTHING_STARTED = (
    "no embedded servers have ever been started in {data_dir}: run `make up`, "
    "or give UPS_DATABASE_URL, UPS_BROKER_URL, UPS_OBJECT_STORE_URL and UPS_SECRET_KEY"
)


def data_dir() -> Path:
    """The folder of the embedded servers: ``UPS_DATA_DIR``, else ``var`` beside the code."""
    return Path(os.environ.get("UPS_DATA_DIR") or REPOSITORY / "var").resolve()


def secrets(data_dir: Path) -> dict[str, str]:
    """The random secrets of a data directory, made when its servers were first started.

    Returns:
        ``django_secret_key``, ``operator_password``, ``flower_password``,
        ``postgres_password``, ``valkey_password``, ``s3_access_key`` and ``s3_secret_key``.

    Raises:
        RuntimeError: if nothing was ever started there; the message says what to run.
    """
    return {name: str(value) for name, value in _read(data_dir, "secrets.json").items()}


def embedded_urls(data_dir: Path) -> dict[str, str]:
    """The URLs of the embedded servers, by the name of the setting that takes them.

    A server that was never started here, because its URL was given, has none.

    Raises:
        RuntimeError: if nothing was ever started there; the message says what to run.
    """
    return server_urls(ports=ports(data_dir), secrets=secrets(data_dir))


def server_urls(*, ports: dict[str, int], secrets: dict[str, str]) -> dict[str, str]:
    """The URLs that belong to chosen ports and secrets; none for a server that has no port."""
    quoted = {name: quote(value, safe="") for name, value in secrets.items()}
    postgres, valkey = quoted["postgres_password"], quoted["valkey_password"]
    store = f"{quoted['s3_access_key']}:{quoted['s3_secret_key']}"
    urls = {}
    if "postgres" in ports:
        address = f"127.0.0.1:{ports['postgres']}"
        urls["UPS_DATABASE_URL"] = f"postgres://ups:{postgres}@{address}/{DATABASE}"
    if "valkey" in ports:
        urls["UPS_BROKER_URL"] = f"redis://:{valkey}@127.0.0.1:{ports['valkey']}/0"
    if "s3" in ports:
        urls["UPS_OBJECT_STORE_URL"] = f"http://{store}@127.0.0.1:{ports['s3']}/{BUCKET}"
    return urls


def ports(data_dir: Path) -> dict[str, int]:
    """The ports that were chosen, by name: the servers', ``web`` and ``flower``."""
    return {name: int(port) for name, port in _read(data_dir, "state.json")["ports"].items()}


def addresses(data_dir: Path) -> dict[str, str]:
    """Where a person finds the system that `make up` started.

    Returns:
        ``web`` and ``flower``: addresses without a trailing slash.
    """
    chosen = ports(data_dir)
    return {
        name: f"http://127.0.0.1:{chosen[name]}" for name in ("web", "flower") if name in chosen
    }


def _read(data_dir: Path, name: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((data_dir / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RuntimeError(NOTHING_STARTED.format(data_dir=data_dir)) from None
    return content

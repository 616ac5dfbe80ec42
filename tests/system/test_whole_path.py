"""The whole system as `make up` starts it: real servers, real workers, kills and restarts."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from controlcenter.embedded import locate

pytestmark = pytest.mark.timeout(3600)
logging.getLogger("httpx").setLevel(logging.WARNING)
LEASE_SECONDS = 8
USERS, EVENTS, EPOCHS = 300, 6_000, 100


class System:
    """A running system in a folder of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("UPS_")}
        env = {
            **clean,
            "UPS_DATA_DIR": str(self.data_dir),
            "UPS_LEASE_SECONDS": str(LEASE_SECONDS),
            "UPS_HTTP_PORT": "18000",
            "UPS_FLOWER_PORT": "15555",
        }
        env.pop("DJANGO_SETTINGS_MODULE", None)
        return subprocess.run(
            [sys.executable, *words],
            cwd=locate.REPOSITORY,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    def embedded(self, *words: str) -> str:
        done = self.run("-m", "controlcenter.embedded", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pid(self, name: str) -> int:
        for line in self.embedded("status").splitlines():
            if line.split()[:2] == [name, "running"]:
                return int(line.split()[-1])
        raise AssertionError(f"{name} does not run")

    def kill(self, name: str) -> None:
        """kill -9 of a process of the system with all it started."""
        process = psutil.Process(self.pid(name))
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went with its parent
                one.send_signal(signal.SIGKILL)


class Api:
    """A client with a token, in one workspace."""

    def __init__(self, base: str, token: str, workspace: str) -> None:
        self.http = httpx.Client(
            base_url=f"{base}/api/v1",
            headers={"Authorization": f"Token {token}"},
            params={"workspace": workspace},
            timeout=30,
        )

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(path, params=query).raise_for_status().json()

    def post(self, path: str, body: Any = None) -> Any:
        return self.http.post(path, json=body).raise_for_status().json()

    def wait(self, path: str, done: Callable[[Any], bool], seconds: float = 600) -> Any:
        """The answer once it is as wished; a server that is away for a moment is asked again."""
        deadline = time.monotonic() + seconds
        answer: Any = None
        while time.monotonic() < deadline:
            try:
                answer = self.get(path)
                if done(answer):
                    return answer
            except httpx.HTTPError as error:
                answer = error
            time.sleep(0.3)
        raise AssertionError(f"{path} did not get there in {seconds} s: {answer}")

    def task(self, **parameters: Any) -> str:
        answer = self.wait("/datasets/?state=ready", lambda found: found["count"] > 0)
        dataset = answer["results"][0]["id"]
        body = {"dataset": dataset, "parameters": {"seed": 3, "epochs": EPOCHS, **parameters}}
        return str(self.post("/tasks/", body)["id"])

    def finished(self, task: str) -> Any:
        final = {"completed", "failed", "cancelled"}
        return self.wait(f"/tasks/{task}/", lambda t: t["state"] in final)

    def training(self, task: str) -> Any:
        """Once the task has trained some epochs and has more before it."""

        def midst(found: Any) -> bool:
            return found["state"] == "training" and found["progress"].get("epoch", 0) >= 2

        return self.wait(f"/tasks/{task}/", midst)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="ups-system-"))
    folder.chmod(0o711)
    system = System(folder)
    try:
        system.embedded("up")
        yield system
    finally:
        system.run("-m", "controlcenter.embedded", "remove")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def demo(system: System) -> Any:
    done = system.run("manage.py", "demo", "--users", str(USERS), "--events", str(EVENTS))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((system.data_dir / "demo.json").read_text())


@pytest.fixture(scope="module")
def api(system: System, demo: Any) -> Api:
    base = locate.addresses(system.data_dir)["web"]
    password = locate.secrets(system.data_dir)["operator_password"]
    signed_in = httpx.post(
        f"{base}/api/v1/auth/tokens/", json={"username": "operator", "password": password}
    )
    return Api(base, signed_in.raise_for_status().json()["token"], "demo")


def test_the_demo_goes_from_upload_to_explanation(demo: Any) -> None:
    assert demo["state"] == "completed"
    assert set(demo["seconds"]) == {"building", "training", "embedding"}
    assert {"auc", "ece", "rules_auc", "embedding_auc", "boosting_auc"} <= set(demo["score"])
    assert set(demo["urls"]) == {"admin", "api", "docs", "flower"}
    for row in demo["metrics"].values():
        assert {"model", "popularity", "repeat", "item_knn"} <= set(row)
    explanation = demo["explanation"]
    total = sum(row["contribution"] for row in explanation["contributions"])
    assert explanation["score"] - explanation["base"] == pytest.approx(total, abs=1e-6)
    assert explanation["score"] == pytest.approx(demo["profile"]["final_score"], abs=1e-5)
    assert demo["recommendations"][0]["reasons"]


def test_a_killed_refresh_worker_loses_nothing(system: System, api: Api) -> None:
    """The interrupted task ends with the metrics of the one that was not, to the last digit."""
    whole = api.finished(api.task())
    assert whole["state"] == "completed"
    task = api.task()
    reached = api.training(task)["progress"]["epoch"]
    system.kill("worker-refresh")
    ended = api.finished(task)
    assert ended["state"] == "completed", ended["error"]
    runs = [r for r in api.get(f"/tasks/{task}/executions/") if r["kind"] == "training"]
    assert [r["status"] for r in runs] == ["lost", "done"]
    epochs = [row["epoch"] for row in ended["metrics"]["losses"]]
    assert epochs == list(range(1, EPOCHS + 1))
    assert reached >= 2
    assert ended["metrics"]["links"] == whole["metrics"]["links"]
    assert ended["metrics"]["score"] == whole["metrics"]["score"]


def test_a_worker_that_is_told_to_stop_hands_back_without_a_loss(system: System, api: Api) -> None:
    """SIGTERM: nothing waits for the lease, no epoch is trained twice, the metrics are the same."""
    whole = api.finished(api.task())
    task = api.task()
    api.training(task)
    system.embedded("restart", "worker-refresh")
    ended = api.finished(task)
    assert ended["state"] == "completed", ended["error"]
    runs = [r for r in api.get(f"/tasks/{task}/executions/") if r["kind"] == "training"]
    assert [r["status"] for r in runs] == ["released", "done"]
    assert [r["losses"] for r in runs] == [0, 0]
    assert ended["metrics"]["links"] == whole["metrics"]["links"]
    assert ended["metrics"]["score"] == whole["metrics"]["score"]


def test_a_database_restart_in_the_middle_of_a_stage(system: System, api: Api) -> None:
    task = api.task()
    api.training(task)
    system.kill("postgres")
    assert api.finished(task)["state"] == "completed"


def test_object_store_and_broker_away_in_the_middle_of_a_stage(system: System, api: Api) -> None:
    task = api.task()
    api.training(task)
    system.kill("seaweedfs")
    system.kill("valkey")
    assert api.finished(task)["state"] == "completed"


def test_cancel_while_it_trains(api: Api) -> None:
    """The worker itself stops in the midst: no epochs to the end, no force after a minute."""
    task = api.task(epochs=500)
    api.training(task)
    api.post(f"/tasks/{task}/cancel/")
    assert api.finished(task)["state"] == "cancelled"
    (run,) = [r for r in api.get(f"/tasks/{task}/executions/") if r["kind"] == "training"]
    assert (run["status"], run["error"]) == ("cancelled", "Cancelled while it ran.")
    assert run["progress"]["epoch"] < 500


def test_a_killed_incremental_worker_loses_nothing(system: System, api: Api) -> None:
    loop = "/operations/incremental/"

    def fresh(state: Any) -> bool:
        running = state["state"] == "running" and not state["lag_events"]
        return running and state["stale_since"] is None

    def send(first: int) -> None:
        events = [
            {
                "event_id": f"7b1e0c64-51a8-4a4e-8f25-{number:012d}",
                "type": "use",
                "timestamp": "2025-07-01T00:00:00Z",
                "payload": {"actor": user, "target": f"app of {number % 7}", "target_type": "app"},
            }
            for number in range(first, first + 50)
        ]
        assert api.post("/events/", events)["accepted"] == 50

    user = api.get("/users/", ordering="-final_score", page_size=1)["results"][0]["user_id"]
    before = api.get(f"/users/{user}/")
    api.post(f"{loop}start/", {"reason": "test"})
    api.wait(loop, fresh)
    send(0)
    system.kill("worker-incremental")
    send(100)
    api.wait(loop, lambda state: state["state"] == "running" and fresh(state))
    after = api.get(f"/users/{user}/")
    assert after["event_counts"]["use"] == before["event_counts"].get("use", 0) + 100
    assert after["stale_since"] is None
    assert after["scored_at"] > before["scored_at"]
    api.post(f"{loop}stop/", {})
    api.wait(loop, lambda state: state["state"] == "off")


def test_rules_events_rollback_and_rescoring(api: Api) -> None:
    best = api.wait("/users/?ordering=-final_score&page_size=1", lambda found: found["count"] > 0)
    user = best["results"][0]["user_id"]
    before = api.get(f"/users/{user}/")
    event = {
        "event_id": "5a0ac5f5-6d6a-4b0f-9f0c-7a3d0a3a6f01",
        "type": "use",
        "timestamp": "2025-07-01T00:00:00Z",
        "payload": {"actor": user, "target": "a brand new app", "target_type": "app"},
    }
    for accepted in (1, 0):
        assert api.post("/events/", event)["accepted"] == accepted
    after = api.get(f"/users/{user}/")
    assert after["event_counts"].get("use", 0) == before["event_counts"].get("use", 0) + 1
    api.post("/rules/", {"name": "pays", "expression": "monthly_fee > 1", "weight": 2.0})
    fusion = api.get("/tasks/", workflow="fusion")["results"][0]
    assert api.finished(fusion["id"])["state"] == "completed"
    scored = api.get(f"/users/{user}/")
    assert scored["rule_hits"]["pays"] is True
    assert scored["rule_revision"] > before["rule_revision"]
    back = api.post("/models/rollback/", {"reason": "the new rule says nothing"})
    assert api.finished(back["task"])["state"] == "completed"
    rolled = api.get(f"/users/{user}/")
    assert rolled["model_version"] == back["active"] != scored["model_version"]
    assert "pays" not in rolled["rule_hits"]
    assert api.get("/apps/", item_id="a brand new app")["count"] == 1


def test_a_version_outlives_its_dataset(api: Api) -> None:
    active = next(v for v in api.get("/models/")["results"] if v["active"])
    answer = api.http.delete(f"/datasets/{active['dataset']}/")
    assert answer.status_code == 204
    newest = api.get("/models/", ordering="-number")["results"][0]
    promoted = api.post(f"/models/{newest['id']}/promote/", {"reason": "back to the newest"})
    ended = api.finished(promoted["task"])
    assert ended["state"] == "completed", ended["error"]
    user = api.get("/users/", ordering="-final_score", page_size=1)["results"][0]["user_id"]
    assert api.get(f"/users/{user}/")["model_version"] == newest["id"]
    explained = api.wait(f"/users/{user}/explanation/", lambda found: found["state"] != "pending")
    assert explained["state"] == "ready", explained["error"]

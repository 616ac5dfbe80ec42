"""Processes are recognised, adopted, started again and stopped: with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from controlcenter.embedded import children, logs
from controlcenter.embedded.children import Identity, Launch
from controlcenter.embedded.process_watch import ProcessWatch
from controlcenter.embedded.state import State

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("deaf", flush=True)
time.sleep(600)
"""


@pytest.fixture
def data_dir(tmp_path):
    yield tmp_path
    for recorded in State.load(tmp_path).processes.values():
        children.kill(recorded.identity)
    children.reap()


def sleeper(data_dir: Path, name: str = "sleeper", **changes) -> Launch:
    fields = {
        "name": name,
        "argv": (sys.executable, "-c", "import time; time.sleep(600)"),
        "cwd": data_dir,
        "log": data_dir / "logs" / f"{name}.log",
        **changes,
    }
    return Launch(**fields)


def watch_of(data_dir: Path) -> ProcessWatch:
    return ProcessWatch(
        data_dir=data_dir, state=State.load(data_dir), relaunch=lambda launch: launch
    )


def test_a_killed_process_starts_again(data_dir):
    watch = watch_of(data_dir)
    watch.start(sleeper(data_dir))
    first = watch.running("sleeper")
    os.kill(first.pid, signal.SIGKILL)

    def again():
        watch.tick()
        return watch.running("sleeper") not in (None, first)

    wait_until(again)


def test_a_process_that_keeps_ending_waits_longer_each_time(data_dir):
    watch = watch_of(data_dir)
    watch.start(sleeper(data_dir, argv=(sys.executable, "-c", "raise SystemExit(1)")))
    delays = []
    for failures in range(1, 4):
        wait_until(lambda: watch.running("sleeper") is None)
        watch.tick()
        one = watch.watched["sleeper"]
        assert one.failures == failures
        delays.append(one.due - time.monotonic())
        one.due = 0.0
        watch.tick()
    assert delays == sorted(delays)


def test_a_command_that_cannot_run_does_not_end_the_watch(data_dir):
    watch = watch_of(data_dir)
    watch.start(sleeper(data_dir))
    watch.relaunch = lambda launch: sleeper(data_dir, argv=("/no/such/program",))
    children.kill(watch.running("sleeper"))
    wait_until(lambda: watch.running("sleeper") is None)
    watch.tick()
    watch.watched["sleeper"].due = 0.0
    watch.tick()
    assert watch.watched["sleeper"].failures == 2


def test_the_next_watch_adopts_what_runs(data_dir):
    watch_of(data_dir).start(sleeper(data_dir))
    later = watch_of(data_dir)
    before = later.running("sleeper")
    assert later.adopt(sleeper(data_dir))
    assert later.running("sleeper") == before
    assert not later.adopt(sleeper(data_dir, "other"))


def test_only_the_wanted_command_is_kept(data_dir):
    watch = watch_of(data_dir)
    same, changed, gone = (sleeper(data_dir, name) for name in ("same", "changed", "gone"))
    for launch in (same, changed, gone):
        watch.start(launch)
    wanted = sleeper(data_dir, "changed", environment={"UPS_LOG_LEVEL": "DEBUG"})
    watch.stop_strangers(keep={"same": same.fingerprint, "changed": wanted.fingerprint})
    assert set(State.load(data_dir).processes) == {"same"}
    assert watch.running("same")


def test_stop_kills_who_does_not_listen_and_what_it_left(data_dir):
    launch = sleeper(data_dir, argv=(sys.executable, "-c", STUBBORN), grace_seconds=0.2)
    who = children.identify(children.start(launch).pid)
    wait_until(lambda: "deaf" in logs.tail(launch.log))
    left = children.left_behind(who)
    assert len(left) == 1
    assert children.stop([(who, launch)]) == ["sleeper"]
    assert not children.alive(who)
    wait_until(lambda: children.identify(left[0]) is None)


def test_another_process_with_the_same_pid_is_left_alone():
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        real = children.identify(bystander.pid)
        reused = Identity(pid=bystander.pid, started=real.started - 1)
        assert not children.alive(reused)
        children.kill(reused)
        children.send(reused, signal.SIGKILL)
        assert children.alive(real)
    finally:
        bystander.kill()
        bystander.wait()


def test_a_log_beyond_the_bound_is_moved_and_its_writer_goes_on(tmp_path):
    path = tmp_path / "one.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        logs.bound(tmp_path, largest=50)
        writer.write(b"after")
    assert path.read_bytes() == b"after"
    assert (tmp_path / "one.log.1").read_bytes() == b"x" * 100

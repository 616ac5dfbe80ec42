"""An upload streams: the web processes' memory stays flat while a large file passes."""

import os
import socket
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest
from django.conf import settings
from django.db import connection

from controlcenter.embedded.processes import APPLICATIONS
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.platform.accounts.services import issue_token

MIB = 2**20
FILE_BYTES = 300 * MIB
BLOCK = b"u1,70.5,12,basic,gold,acme,0\n" * 36_000
BOUNDARY = "streamed"


@pytest.fixture
def web(transactional_db):
    """The address of the web process as ``make up`` starts it, on the database of the tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    web = next(one for one in APPLICATIONS if one.name == "web")
    there = connection.settings_dict
    database = f"{there['USER']}:{there['PASSWORD']}@{there['HOST']}:{there['PORT']}"
    command = [sys.executable, "-m", *web.argv(host="127.0.0.1", http_port=port)]
    process = subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env=os.environ
        | {
            "UPS_DATABASE_URL": f"postgres://{database}/{there['NAME']}",
            "UPS_LOG_LEVEL": "WARNING",
        },
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url, process)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def wait_until_it_answers(url, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/livez").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the web process did not answer at {url}")


def form():
    """A multipart form with a file that is nowhere whole."""
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="u.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    ).encode()
    for _ in range(FILE_BYTES // len(BLOCK) + 1):
        yield BLOCK
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def rss(process):
    return sum(child.memory_info().rss for child in process.children())


def warm_up(url, headers):
    """Each worker loads what an upload needs, so that only the file itself is measured."""
    for _ in range(8):
        file = {"file": ("u.csv", b"user_id\nu1\n")}
        httpx.post(f"{url}/api/v1/datasets/", files=file, headers=headers, timeout=60)


def test_a_large_upload_leaves_the_web_processes_small(web, workspace, owner):
    url, process = web
    _, token = issue_token(account=owner, name="upload")
    headers = {"Authorization": f"Token {token}"}
    warm_up(url, headers)
    before, highest, done = rss(process), 0, threading.Event()

    def watch():
        nonlocal highest
        while not done.wait(0.05):
            highest = max(highest, rss(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answer = httpx.post(
            f"{url}/api/v1/datasets/",
            content=form(),
            headers=headers | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
            timeout=240,
        )
    finally:
        done.set()
        watcher.join()
    assert answer.status_code == 201, answer.text
    dataset = Dataset.objects.get(pk=answer.json()["id"])
    assert dataset.size >= FILE_BYTES
    assert dataset.upload.size == dataset.size
    assert highest >= before, "nobody looked while it passed"
    grown = highest - before
    assert grown < 64 * MIB, f"the web processes grew by {grown // MIB} MiB"

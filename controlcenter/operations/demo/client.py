"""A small REST client: what a program with a token does, and nothing it could not do."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.filepost import encode_multipart_formdata

POLL_SECONDS = 0.3


class RequestFailed(Exception):
    """The API answered with a problem."""


class DemoClient:
    """Talks to ``/api/v1/`` of one control center in one workspace.

    Args:
        base: Address without a trailing slash.
    """

    def __init__(self, base: str, *, token: str, workspace: str) -> None:
        self.base = f"{base}/api/v1"
        self.workspace = workspace
        self.pool = urllib3.PoolManager(
            headers={"Authorization": f"Token {token}", "Accept": "application/json"}
        )

    def call(
        self, method: str, path: str, body: Any = None, *, timeout: float = 60, **query: Any
    ) -> Any:
        """One request; the answer's JSON.

        Raises:
            RequestFailed: with the problem's detail.
        """
        response = self.pool.request(
            method,
            self.url(path, query),
            body=None if body is None else json.dumps(body).encode(),
            headers={**self.pool.headers, "Content-Type": "application/json"},
            timeout=timeout,
            retries=False,
        )
        return self.answer(response, f"{method} {path}")

    def url(self, path: str, query: dict[str, Any] | None = None) -> str:
        """The address of a path of the API, about the demo's workspace."""
        pairs = {"workspace": self.workspace, **(query or {})}
        return f"{self.base}{path}?{urlencode(pairs)}"

    @staticmethod
    def answer(response: urllib3.BaseHTTPResponse, call: str) -> Any:
        """The JSON of a response.

        Raises:
            RequestFailed: with what the API said.
        """
        if response.status >= 400:
            text = response.data.decode(errors="replace")
            raise RequestFailed(f"{call} answered {response.status}: {text[:1000]}")
        return json.loads(response.data) if response.data else None

    def upload(self, path: Path, *, name: str, mapping: str) -> Any:
        """Upload a dataset as a multipart form."""
        fields: dict[str, str | tuple[str, bytes, str]] = {
            "name": name,
            "mapping": mapping,
            "file": (path.name, path.read_bytes(), "application/octet-stream"),
        }
        body, content_type = encode_multipart_formdata(fields)
        response = self.pool.request(
            "POST",
            self.url("/datasets/"),
            body=body,
            headers={**self.pool.headers, "Content-Type": content_type},
            timeout=600,
            retries=False,
        )
        return self.answer(response, "upload")

    def wait_for_dataset(self, dataset_id: str) -> Any:
        """Until the dataset is checked."""
        while True:
            dataset = self.call("GET", f"/datasets/{dataset_id}/")
            if dataset["state"] not in {"generating", "validating"}:
                return dataset
            time.sleep(POLL_SECONDS)

    def follow(self, task_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events of a task as they come; goes on from the last one if the stream breaks."""
        last = "0"
        while True:
            try:
                for kind, event_id, data in self.stream(task_id, last):
                    last = event_id or last
                    yield kind, data
                    if kind == "end":
                        return
            except (urllib3.exceptions.HTTPError, OSError):
                time.sleep(POLL_SECONDS)

    def stream(self, task_id: str, last: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Kind, id and data of a task's events after the one named by ``last``.

        Raises:
            HTTPError: if the stream does not begin or breaks.
        """
        response = self.pool.request(
            "GET",
            self.url(f"/tasks/{task_id}/events/"),
            headers={**self.pool.headers, "Accept": "text/event-stream", "Last-Event-ID": last},
            preload_content=False,
            timeout=urllib3.Timeout(connect=5, read=60),
            retries=False,
        )
        if response.status != 200:
            raise urllib3.exceptions.HTTPError(f"the stream answered {response.status}")
        fields: dict[str, str] = {}
        with response:
            for raw in lines(response):
                if raw:
                    name, _, value = raw.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                    fields = {}


def lines(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """The lines of a response while it arrives."""
    rest = b""
    for chunk in response.stream(1024, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode()

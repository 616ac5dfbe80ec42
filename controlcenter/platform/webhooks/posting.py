"""One HTTP request to a receiver: bounded in time and size, no redirects, no proxies, no retries.

The standard library's client, because the connection must go to the very address that was checked.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from threading import Timer

from controlcenter.platform.webhooks import addresses
from controlcenter.platform.webhooks.addresses import BadAddress, Refused, Target

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
READ_BYTES = 1024
SHOWN = 200


@dataclass(frozen=True)
class Answer:
    """What came of one attempt.

    Args:
        status: HTTP status; None: no answer.
        error: One sentence; empty: it went well.
    """

    status: int | None = None
    error: str = ""

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class TooLate(Exception):
    """The whole time for a request is over."""


@cache
def tls() -> ssl.SSLContext:
    """Checks certificate and host name against the authorities that the machine trusts."""
    return ssl.create_default_context()


def post(
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    private: bool,
    total: float = TOTAL_SECONDS,
) -> Answer:
    """Send a body and read how the receiver answers; never raises for what a receiver does.

    Args:
        private: Whether private and loopback addresses may be delivered to.
        total: Seconds for all of it, resolving the name included.
    """
    started = time.monotonic()
    try:
        target = addresses.parse(url)
        usable = addresses.resolve(target, private=private)
        link = connect(target, usable, deadline=started + total)
    except (BadAddress, Refused, TooLate) as error:
        return Answer(error=str(error))
    except OSError as error:
        return Answer(error=f"no connection: {error or type(error).__name__}")
    watch = Watch(link, seconds=started + total - time.monotonic())
    try:
        answer = exchange(link, target, body=body, headers=headers)
    except (OSError, http.client.HTTPException) as error:
        answer = Answer(error=f"no answer: {error or type(error).__name__}")
    finally:
        watch.end()
        link.close()
    # A connection that was cut may look like a short answer.
    return Answer(error=f"no whole answer within {total:g} s") if watch.over else answer


class Watch:
    """Ends a connection when its time is over, however slowly bytes drip in."""

    def __init__(self, link: socket.socket, *, seconds: float) -> None:
        # A handle of its own: wrapping in TLS takes the first one away.
        self.link = link.dup()
        self.over = False
        self.timer = Timer(max(seconds, 0.0), self.cut)
        self.timer.daemon = True
        self.timer.start()

    def cut(self) -> None:
        self.over = True
        with suppress(OSError):  # the receiver was faster
            self.link.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.timer.cancel()
        self.timer.join()
        self.link.close()


def connect(target: Target, usable: list[str], *, deadline: float) -> socket.socket:
    """A connection to the first of the addresses that takes it.

    Raises:
        OSError: if none does.
        TooLate: if the time is over before.
    """
    last: OSError | None = None
    for address in usable:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TooLate(f"no connection to {target.host} in time")
        try:
            timeout = min(CONNECT_SECONDS, remaining)
            return socket.create_connection((address, target.port), timeout)
        except OSError as error:
            last = error
    raise last or OSError(f"{target.host} has no address")


def exchange(
    link: socket.socket, target: Target, *, body: bytes, headers: Mapping[str, str]
) -> Answer:
    """Send the request over a connection and read the beginning of the answer."""
    link.settimeout(TOTAL_SECONDS)
    client = http.client.HTTPConnection(target.authority)
    client.sock = (
        tls().wrap_socket(link, server_hostname=target.host) if target.scheme == "https" else link
    )
    try:
        client.request("POST", target.path, body=body, headers=dict(headers))
        response = client.getresponse()
        said = response.read(READ_BYTES)
    finally:
        client.close()
    answer = Answer(status=response.status)
    return answer if answer.good else Answer(response.status, refusal(response, said))


def refusal(response: http.client.HTTPResponse, said: bytes) -> str:
    """What a receiver that did not take it says, in one line."""
    if 300 <= response.status < 400:
        return f"answered {response.status}: redirects are not followed, correct the URL"
    text = " ".join(said.decode("utf-8", "replace").replace("\x00", "").split())[:SHOWN]
    words = f"answered {response.status} {response.reason}".strip()
    return f"{words}: {text}" if text else words

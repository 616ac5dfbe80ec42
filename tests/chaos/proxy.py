"""A TCP proxy before a server, which can be slow, refuse, answer nonsense, or cut in the middle."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

CHUNK = 64 * 1024
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset, as of a machine that is gone."""

UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\n"
    b"Connection: close\r\nContent-Length: 84\r\n\r\n"
    b"<Error><Code>ServiceUnavailable</Code><Message>told to be</Message><Resource/></Error>"
)
UNAVAILABLE = UNAVAILABLE.replace(b"84", str(len(UNAVAILABLE.split(b"\r\n\r\n")[1])).encode())


class Proxy:
    """Passes bytes between its own port and a server's until told otherwise.

    Attributes:
        refusing: New connections are reset, and ``cut`` was called for the old ones.
        seconds_a_chunk: Waited before each 64 KiB.
        failing: Every request is answered with HTTP status 503.
        cut_sending: After so many bytes more, the connection that sends them is reset, once.
        cut_answering: The same for what comes back.
        on_cut: Called when one of the two happens.
    """

    def __init__(self, port: int) -> None:
        self.to = port
        self.refusing = self.failing = False
        self.seconds_a_chunk = 0.0
        self.cut_sending: int | None = None
        self.cut_answering: int | None = None
        self.on_cut: Callable[[], object] = lambda: None
        self.cuts = 0
        self._links: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def calm(self) -> None:
        """Nothing but passing on from here."""
        self.refusing = self.failing = False
        self.seconds_a_chunk = 0.0
        self.cut_sending = self.cut_answering = None
        self.on_cut = lambda: None

    def cut(self) -> None:
        """Reset every connection that there is."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            self._reset(link)

    def refuse(self) -> None:
        """The server is gone, until ``calm``."""
        self.refusing = True
        self.cut()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.refusing:
            self._reset(client)
            return
        if self.failing:
            with contextlib.suppress(OSError), client:
                client.settimeout(5)
                client.recv(CHUNK)
                client.sendall(UNAVAILABLE)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.to), timeout=5)
        except OSError:
            self._reset(client)
            return
        server.settimeout(None)
        with self._lock:
            self._links |= {client, server}
        back = threading.Thread(target=self._pass, args=(server, client, "answering"), daemon=True)
        back.start()
        self._pass(client, server, "sending")

    def _pass(self, source: socket.socket, target: socket.socket, way: str) -> None:
        try:
            while data := source.recv(CHUNK):
                if self.failing and way == "sending":
                    break
                if self.seconds_a_chunk:
                    time.sleep(self.seconds_a_chunk)
                if self._cut_here(f"cut_{way}", len(data)):
                    break
                target.sendall(data)
        except OSError:
            pass  # the other way cut it
        for link in (source, target):
            with self._lock:
                self._links.discard(link)
            self._reset(link)

    def _cut_here(self, limit: str, passing: int) -> bool:
        with self._lock:
            left = getattr(self, limit)
            if left is None:
                return False
            ends = left < passing
            setattr(self, limit, None if ends else left - passing)
            self.cuts += ends
        if ends:
            self.on_cut()
        return bool(ends)

    @staticmethod
    def _reset(link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
        link.close()

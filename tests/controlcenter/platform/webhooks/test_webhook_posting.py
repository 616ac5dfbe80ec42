"""One request: bounded in time and size, to the address that was checked."""

import socket
import ssl
import subprocess
import threading

import pytest

from controlcenter.platform.webhooks import addresses, posting

HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "k"}


def send(url, *, private=True, total=10.0):
    return posting.post(url, body=b'{"a":1}', headers=HEADERS, private=private, total=total)


def test_body_and_headers_arrive(receiver):
    assert send(f"{receiver.url}?x=1") == posting.Answer(200)
    (got,) = receiver.got
    assert (got.path, got.body) == ("/in?x=1", b'{"a":1}')
    assert got.headers["host"] == receiver.url.split("/")[2]
    assert got.headers["content-type"] == "application/json"


def test_a_name_is_sent_as_the_host(receiver):
    assert send(receiver.url.replace("127.0.0.1", "localhost")).good
    assert receiver.got[0].headers["host"].startswith("localhost:")


def test_the_loopback_is_refused_where_it_is_not_allowed(receiver):
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        answer = send(receiver.url.replace("127.0.0.1", host), private=False)
        assert answer.status is None
        assert "no public address" in answer.error
    assert receiver.got == []


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch, receiver):
    """A name that is public when it is checked and private when it is asked for again."""
    asked = []

    def getaddrinfo(host, port, *_, **__):
        asked.append(host)
        first = len(asked) == 1
        address = "93.184.216.34" if first else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected = []

    def create_connection(address, timeout):
        connected.append(address)
        raise ConnectionRefusedError("not in a test")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", create_connection)
    answer = send(receiver.url.replace("127.0.0.1", "rebinding.example"), private=False)
    port = receiver.server.server_address[1]
    assert (asked, connected) == (["rebinding.example"], [("93.184.216.34", port)])
    assert "no connection" in answer.error


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receivers, status):
    first, second = receivers(), receivers()

    def redirect(handler, got):
        handler.send_response(status)
        handler.send_header("Location", second.url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    first.answer = redirect
    answer = send(first.url)
    assert (answer.status, answer.good) == (status, False)
    assert "redirects are not followed" in answer.error
    assert second.got == []


@pytest.mark.parametrize(("status", "good"), [(200, True), (204, True), (400, False), (503, False)])
def test_only_2xx_is_good(receiver, status, good):
    receiver.answer = lambda handler, got: status
    answer = send(receiver.url)
    assert (answer.status, answer.good, answer.error == "") == (status, good, good)


def test_what_the_receiver_says_is_kept_in_part(receiver):
    def say(handler, got):
        body = b"no such\ncustomer \xff" + b"x" * 100_000
        handler.send_response(422)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    receiver.answer = say
    error = send(receiver.url).error
    assert error.startswith("answered 422 Unprocessable Entity: no such customer \ufffd")
    assert len(error) < 300


def test_a_good_answer_without_end_is_good_after_its_first_kilobyte(receiver):
    done = threading.Event()

    def flood(handler, got):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:  # the sender hung up
            done.set()

    receiver.answer = flood
    assert send(receiver.url).good
    assert done.wait(30)


def cut_off(url):
    """Send with little time, but enough to be connected: on a busy machine that takes a while.

    Returns:
        The answer, and the seconds that it was given.
    """
    for total in (0.5, 2.0, 8.0):
        answer = send(url, total=total)
        if "no connection" not in answer.error:
            break
    return answer, total


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_receiver_that_drips_is_cut_off(receiver, drip):
    """Each byte comes in time, the whole never does."""
    given_up = threading.Event()

    def slow(handler, got):
        handler.wfile.write(drip)
        try:
            while not given_up.wait(0.05):
                handler.wfile.write(b"x")
        except OSError:
            given_up.set()

    receiver.answer = slow
    answer, total = cut_off(receiver.url)
    assert answer == posting.Answer(error=f"no whole answer within {total:g} s")
    given_up.set()


def test_nobody_there_is_said():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = send(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert answer.status is None
    assert "no connection" in answer.error


def test_a_name_that_nobody_knows_is_said(monkeypatch):
    def getaddrinfo(host, port, *_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = send("http://nowhere.invalid/")
    assert answer.status is None
    assert answer.error.startswith("no connection")
    assert "not known" in answer.error


def test_what_is_no_http_is_said(receiver):
    receiver.answer = lambda handler, got: handler.wfile.write(b"SSH-2.0-x\r\n\r\n") and None
    assert "no answer" in send(receiver.url).error


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for the name localhost alone, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def secure(receiver, certificate):
    """The receiver behind TLS; its address by name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    return f"https://localhost:{receiver.server.server_address[1]}/in"


def test_a_certificate_that_nobody_trusts_is_refused(secure, receiver):
    answer = send(secure)
    assert "certificate verify failed" in answer.error
    assert receiver.got == []


def test_tls_is_checked_for_the_name_though_an_address_is_connected_to(
    secure, receiver, certificate, monkeypatch
):
    trusting = ssl.create_default_context(cafile=certificate / "cert.pem")
    monkeypatch.setattr(posting, "tls", lambda: trusting)
    assert send(secure).good
    assert len(receiver.got) == 1
    answer = send(secure.replace("localhost", "127.0.0.1"))
    assert "mismatch" in answer.error
    assert len(receiver.got) == 1


def test_a_handshake_that_never_ends_is_cut_off():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer, total = cut_off(f"https://127.0.0.1:{silent.getsockname()[1]}/")
    assert answer == posting.Answer(error=f"no whole answer within {total:g} s")


def test_a_slow_resolver_takes_from_the_whole_time(monkeypatch, receiver):
    def resolve(target, *, private):
        threading.Event().wait(0.3)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", resolve)
    assert "in time" in send(receiver.url, total=0.2).error
    assert receiver.got == []

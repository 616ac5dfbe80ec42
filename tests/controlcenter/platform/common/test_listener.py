"""A listener hears what is told, wakes for others, and comes back when its connection is cut."""

import os
import threading
import time

import pytest
from django.db import connection

from controlcenter.platform.common.listener import Listener

pytestmark = pytest.mark.django_db(transaction=True)
CHANNEL = "ups_test"
LONG = 30.0


def tell(payload):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


@pytest.fixture
def listener():
    with Listener(CHANNEL) as listener:
        yield listener


def test_it_hears_all_that_was_told_since_it_listens(listener):
    tell("one")
    tell("two")
    payloads = []
    while len(payloads) < 2:
        heard = listener.wait(LONG)
        assert heard
        payloads += heard
    assert payloads == ["one", "two"]
    assert listener.wait(0) == []


def test_it_returns_while_it_waits_as_soon_as_something_is_told(listener):
    def later():
        tell("now")
        connection.close()

    timer = threading.Timer(0.2, later)
    begin = time.monotonic()
    timer.start()
    assert listener.wait(LONG) == ["now"]
    assert time.monotonic() - begin < LONG
    timer.join()


def test_a_waker_ends_the_wait(listener):
    read, write = os.pipe()
    try:
        os.write(write, b"!")
        begin = time.monotonic()
        assert listener.wait(LONG, wakers=[read]) == []
        assert time.monotonic() - begin < LONG
    finally:
        os.close(read)
        os.close(write)


def test_a_cut_connection_is_opened_again(listener):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = %s",
            [f"LISTEN {CHANNEL}"],
        )
        assert cursor.fetchone()[0] == 1
    lost = listener._link
    while listener._link is lost:  # the server's last words may come before the end is seen
        assert listener.wait(LONG) == []
    assert listener.listen()
    tell("again")
    assert listener.wait(LONG) == ["again"]


def test_without_a_database_it_waits_and_comes_back(monkeypatch):
    parameters = connection.get_connection_params()
    nowhere = parameters | {"host": "127.0.0.1", "port": 1}
    listener = Listener(CHANNEL)
    monkeypatch.setattr(connection, "get_connection_params", lambda: nowhere)
    assert not listener.listen()
    assert listener.wait(0.01) == []
    monkeypatch.setattr(connection, "get_connection_params", lambda: parameters)
    with listener:
        tell("back")
        assert listener.wait(LONG) == ["back"]

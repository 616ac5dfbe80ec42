"""What the page for client programs tells receivers to do works as it stands there."""

import json
import re
import time
from pathlib import Path

import pytest
from webhook_fixtures import send_all, step

from controlcenter.platform.webhooks import signing

pytestmark = pytest.mark.django_db
PAGE = Path(__file__).parents[4].joinpath("docs", "api-clients.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Webhooks\n")[2].partition("\n## ")[0]


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.M | re.S)
    return found


@pytest.fixture
def verify():
    names = {}
    exec(compile(block("python"), "docs/api-clients.md", "exec"), names)
    return names["verify"]


def test_the_example_knows_what_is_genuine(verify, task, receiver, hook, sender):
    _, secret = hook(receiver.url)
    step(task, "building")
    send_all(sender)
    (got,) = receiver.got
    assert verify(secret, got.headers, got.body)
    assert not verify(secret, got.headers, got.body + b" ")
    assert not verify(secret, got.headers | {"webhook-id": "another"}, got.body)
    assert not verify(signing.derive("x", signing.new_salt()), got.headers, got.body)


def test_the_example_refuses_what_is_old(verify):
    secret, now = signing.derive("x", signing.new_salt()), int(time.time())
    for age, good in ((0, True), (3600, False), (-3600, False)):
        headers = signing.headers([secret], key="k", timestamp=now - age, body=b"{}")
        lower = {name.lower(): value for name, value in headers.items()}
        assert verify(secret, lower, b"{}") == good


def test_the_example_takes_either_secret_after_a_rotation(verify):
    old, new = (signing.derive("x", signing.new_salt()) for _ in range(2))
    headers = signing.headers([new, old], key="k", timestamp=int(time.time()), body=b"{}")
    lower = {name.lower(): value for name, value in headers.items()}
    assert verify(old, lower, b"{}")
    assert verify(new, lower, b"{}")


def test_the_body_has_the_fields_that_are_shown(task, receiver, hook, sender):
    hook(receiver.url)
    step(task, "building")
    send_all(sender)
    sent, shown = json.loads(receiver.got[0].body), json.loads(block("json"))
    assert list(sent) == list(shown)
    assert list(sent["data"]) == list(shown["data"])


def test_the_headers_that_are_sent_are_told(task, receiver, hook, sender):
    hook(receiver.url)
    step(task, "building")
    send_all(sender)
    cells = "".join(re.findall(r"^\| (`[^|]+) \|", SECTION, re.M))
    told = {name.lower() for name in re.findall(r"`([^`]+)`", cells)}
    usual = {"host", "accept-encoding", "content-length", "content-type", "user-agent"}
    assert set(receiver.got[0].headers) == told | usual

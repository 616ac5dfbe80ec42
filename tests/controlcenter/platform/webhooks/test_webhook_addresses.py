"""Where a webhook may point to."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlcenter.platform.webhooks import addresses
from controlcenter.platform.webhooks.addresses import BadAddress, Refused

INNER = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1",
    "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:c0a8:101::1",
]  # fmt: skip
OUTER = ["93.184.216.34", "1.1.1.1", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:1.1.1.1"]


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://a.example", "a.example", 443, "a.example", "/"),
        ("http://A.Example:8080/x?y=1#z", "a.example", 8080, "a.example:8080", "/x?y=1"),
        ("https://a.example:443/", "a.example", 443, "a.example", "/"),
        ("http://[::1]:81/x", "::1", 81, "[::1]:81", "/x"),
        ("https://bücher.example/ä%20b?q=ö", "xn--bcher-kva.example", 443,
         "xn--bcher-kva.example", "/%C3%A4%20b?q=%C3%B6"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url, host, port, authority, path):
    expected = addresses.Target(url.split(":")[0], host, port, authority, path)
    assert addresses.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "/in", "ftp://a.example/", "file:///etc/passwd", "https://",
        "https://user@a.example/", "https://user:word@a.example/", "https://@a.example/",
        "http://a.example:0/", "http://a.example:99999/", "http://a.example:x/",
        "http://a.example/a b", "http://a.example/\r\nHost: b", "http://[::1", "http://a b/",
        f"http://{'a' * 64}.example/", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url):
    with pytest.raises(BadAddress):
        addresses.parse(url)


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://a.example/"]))
def test_any_text_is_an_address_that_goes_into_a_request_or_none(text, before):
    try:
        target = addresses.parse(before + text)
    except BadAddress:
        return
    for part in (target.path, target.authority, target.host):
        assert part.isascii()
        assert not set(part) & set(" \r\n\t\x00")


@pytest.mark.parametrize("text", INNER)
def test_inner_addresses_are_not_public(text):
    assert not addresses.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OUTER)
def test_outer_addresses_are_public(text):
    assert addresses.is_public(ipaddress.ip_address(text))


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_an_address_in_another_coat_is_judged_as_itself(inner):
    coats = [f"::ffff:{inner}", str(addresses.NAT64[int(inner)])]
    coats.append(str(ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80))))
    judged = {addresses.is_public(ipaddress.ip_address(coat)) for coat in coats}
    assert judged == {addresses.is_public(inner)}


def answers(monkeypatch, *found):
    """Has the resolver answer with these addresses."""

    def getaddrinfo(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("inner", INNER)
def test_a_name_that_leads_inside_is_refused(monkeypatch, inner):
    target = addresses.parse("https://a.example/")
    answers(monkeypatch, "93.184.216.34", inner)
    with pytest.raises(Refused, match="no public address"):
        addresses.resolve(target, private=False)
    assert addresses.resolve(target, private=True) == ["93.184.216.34", inner]


def test_numbers_that_mean_the_loopback_are_seen_through():
    for url in ("http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://localhost/"):
        with pytest.raises((Refused, OSError)):
            addresses.resolve(addresses.parse(url), private=False)

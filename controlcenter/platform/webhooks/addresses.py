"""Where a webhook may point: checked when it is written, and again on what its name resolves to."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")
VISIBLE = re.compile(r"[!-~]+")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadAddress(ValueError):
    """The URL can't be a webhook's; the message says why."""


class Refused(Exception):
    """The host resolves to an address that deliveries may not go to."""


@dataclass(frozen=True)
class Target:
    """A URL, taken apart.

    Args:
        host: As it goes into TLS and DNS: ASCII, an IPv6 address without brackets.
        authority: What ``Host`` says.
        path: With the query, in ASCII.
    """

    scheme: str
    host: str
    port: int
    authority: str
    path: str


def parse(url: str) -> Target:
    """Take a webhook's URL apart.

    Raises:
        BadAddress: if it is not http(s), has no host, has credentials, or is not well formed.
    """
    shown = "a URL" if "@" in url else repr(url)  # a password is not repeated
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:
        raise BadAddress(f"got {shown}, which is no URL") from error
    if parts.scheme not in PORTS:
        raise BadAddress(f"got {shown}, expected a URL that begins with https:// or http://")
    if "@" in parts.netloc:
        raise BadAddress("has a user name or password: receivers know deliveries by the signature")
    if not VISIBLE.fullmatch(host) or port == 0:
        raise BadAddress(f"got {shown}, which names no host that can be reached")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise BadAddress(f"got {shown}, which has a space or a control character")
    named = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe="/:@!$&'()*+,;=-._~%")
    query = quote(parts.query, safe="/?:@!$&'()*+,;=-._~%")
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port or PORTS[parts.scheme],
        authority=named if port in (None, PORTS[parts.scheme]) else f"{named}:{port}",
        path=f"{path}?{query}" if query else path,
    )


def unwrapped(address: Address) -> Address:
    """Whom a packet reaches: an IPv4 address that is wrapped in an IPv6 one, unwrapped."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo:
        inner = address.teredo[1]
    return inner or address


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet: neither private, local nor reserved."""
    inner = unwrapped(address)
    return inner.is_global and not inner.is_multicast


def resolve(target: Target, *, private: bool) -> list[str]:
    """The addresses of a host, each of which may be connected to.

    Whoever connects must take one of these and not ask for the name again: a second answer may be
    another one.

    Args:
        private: Whether private and loopback addresses may be delivered to.

    Raises:
        OSError: if the name does not resolve.
        Refused: if any of its addresses is not public and ``private`` is false.
    """
    entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not private:
        for text in addresses:
            if not is_public(ipaddress.ip_address(text)):
                raise Refused(
                    f"{target.host} is at {text}, which is no public address; "
                    "UPS_WEBHOOK_PRIVATE_ADDRESSES=1 would allow it"
                )
    return addresses

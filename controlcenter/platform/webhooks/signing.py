"""Secrets and signatures after the Standard Webhooks specification (standardwebhooks.com)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
PURPOSE = b"controlcenter.webhooks"


def new_salt() -> str:
    """32 random bytes as hex: a new salt is a new secret."""
    return secrets.token_hex(32)


def derive(key: str, salt: str) -> str:
    """The secret that belongs to a salt: ``whsec_`` and 32 bytes in base64.

    Derived, so that whoever reads the database cannot sign.

    Args:
        key: The secret key of the system (``UPS_SECRET_KEY``).
        salt: As ``new_salt`` made it.
    """
    purpose = hmac.digest(key.encode(), PURPOSE, "sha256")
    secret = hmac.digest(purpose, bytes.fromhex(salt), "sha256")
    return PREFIX + base64.b64encode(secret).decode()


def digest(secret: str) -> str:
    """What may be stored of a secret, to know it again."""
    return hashlib.sha256(secret.encode()).hexdigest()


def sign(secret: str, *, key: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and HMAC-SHA256 of ``key.timestamp.body`` in base64.

    Args:
        secret: With its prefix.
        key: The delivery's id.
        timestamp: Seconds since 1970.
    """
    signed = b".".join([key.encode(), str(timestamp).encode(), body])
    mac = hmac.digest(base64.b64decode(secret.removeprefix(PREFIX)), signed, "sha256")
    return "v1," + base64.b64encode(mac).decode()


def headers(
    signing_secrets: Iterable[str], *, key: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """What tells the receiver which delivery this is, and that it is ours.

    Args:
        signing_secrets: The present one first; after a rotation the one before it too.
    """
    signed = [sign(one, key=key, timestamp=timestamp, body=body) for one in signing_secrets]
    return {
        "webhook-id": key,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signed),
        "Idempotency-Key": key,
    }

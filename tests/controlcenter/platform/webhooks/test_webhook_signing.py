"""Signatures are those of the Standard Webhooks specification."""

import base64

from hypothesis import given
from hypothesis import strategies as st
from webhook_fixtures import Got, verified

from controlcenter.platform.webhooks import signing

SALTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_the_example_of_the_specifications_libraries():
    """The vector that the reference libraries are tested with."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = signing.sign(
        secret,
        key="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(salt=SALTS, other=SALTS, body=st.binary(), key=st.uuids(), timestamp=st.integers(0, 2**33))
def test_a_receiver_knows_what_is_ours_and_nothing_else(salt, other, body, key, timestamp):
    secret, strange = signing.derive("key", salt), signing.derive("key", other)
    headers = signing.headers([secret], key=str(key), timestamp=timestamp, body=body)
    assert headers["Idempotency-Key"] == headers["webhook-id"] == str(key)
    lower = {name.lower(): value for name, value in headers.items()}
    assert verified(secret, Got("/", lower, body))
    assert verified(strange, Got("/", lower, body)) == (salt == other)
    assert not verified(secret, Got("/", lower, body + b" "))
    assert not verified(secret, Got("/", lower | {"webhook-timestamp": str(timestamp + 1)}, body))


def test_after_a_rotation_either_secret_verifies():
    old, new = (signing.derive("key", signing.new_salt()) for _ in range(2))
    headers = signing.headers([new, old], key="k", timestamp=1, body=b"{}")
    lower = {name.lower(): value for name, value in headers.items()}
    assert verified(new, Got("/", lower, b"{}"))
    assert verified(old, Got("/", lower, b"{}"))


def test_a_secret_has_the_form_that_libraries_expect():
    salt = signing.new_salt()
    secret = signing.derive("key", salt)
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert signing.derive("key", salt) == secret
    assert signing.derive("another key", salt) != secret
    assert salt not in secret

"""What a data directory remembers, and what settings read from it."""

import json
import socket
import stat
from urllib.parse import unquote, urlsplit

import pytest

from controlcenter.embedded import locate, state
from controlcenter.embedded.state import Recorded, State


def test_state_comes_back_as_it_was_saved(tmp_path):
    saved = State(
        ports={"postgres": 20_001},
        processes={"postgres": Recorded(pid=7, started=11, command="abc")},
        supervisor=Recorded(pid=5, started=9, command=""),
        mode="all",
        ready=True,
    )
    saved.save(tmp_path)
    assert State.load(tmp_path) == saved


def test_state_of_an_untouched_folder_is_empty(tmp_path):
    assert State.load(tmp_path) == State()


def test_secrets_are_private_and_stay(tmp_path):
    made = state.ensure_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert set(made) == set(state.SECRETS)
    assert len(set(made.values())) == len(made)
    assert state.ensure_secrets(tmp_path) == made == locate.secrets(tmp_path)


def test_a_missing_secret_is_added_and_the_others_stay(tmp_path):
    made = state.ensure_secrets(tmp_path)
    old = {name: value for name, value in made.items() if name != "flower_password"}
    (tmp_path / "secrets.json").write_text(json.dumps(old), encoding="utf-8")
    again = state.ensure_secrets(tmp_path)
    assert old.items() < again.items()
    assert len(again["flower_password"]) >= 40


def test_urls_carry_any_secret(tmp_path):
    secrets = dict.fromkeys(state.SECRETS, "a/b:c@d?%#")
    urls = locate.server_urls(ports={"postgres": 1, "valkey": 2, "s3": 3}, secrets=secrets)
    assert {name: urlsplit(url).port for name, url in urls.items()} == {
        "UPS_DATABASE_URL": 1,
        "UPS_BROKER_URL": 2,
        "UPS_OBJECT_STORE_URL": 3,
    }
    assert {unquote(urlsplit(url).password) for url in urls.values()} == {"a/b:c@d?%#"}


def test_a_server_that_is_somewhere_else_has_no_url():
    secrets = dict.fromkeys(state.SECRETS, "x")
    urls = locate.server_urls(ports={"valkey": 2, "web": 8000}, secrets=secrets)
    assert urls == {"UPS_BROKER_URL": "redis://:x@127.0.0.1:2/0"}


def test_says_what_to_run_where_nothing_was_started(tmp_path):
    for read in (locate.secrets, locate.embedded_urls, locate.ports):
        with pytest.raises(RuntimeError, match="make up"):
            read(tmp_path / "absent")


def test_port_choice_prefers_what_is_wanted_and_free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        busy = listener.getsockname()[1]
        assert not state.is_free(busy)
        free = state.choose_port(preferred=[busy], reserved=[])
        assert free in state.PORT_RANGE
        assert state.choose_port(preferred=[busy, free], reserved=[]) == free
        assert state.choose_port(preferred=[free], reserved=[free]) != free

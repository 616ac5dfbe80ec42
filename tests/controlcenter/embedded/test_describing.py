"""What `make up` and `make status` tell a person."""

import os
import shlex

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from controlcenter.embedded import __main__ as embedded
from controlcenter.embedded import locate, postgres
from controlcenter.platform.accounts.models import Account


@pytest.fixture
def database():
    """The URL's database is that of the servers; the tests have one of their own."""
    name = connection.settings_dict["NAME"]
    return psycopg.conninfo.make_conninfo(os.environ["UPS_DATABASE_URL"], dbname=name)


@pytest.mark.django_db(transaction=True)
def test_an_account_is_known_by_its_name_while_it_is_active(database):
    assert not postgres.has_account(database, "operator")
    account = Account.objects.create_user("operator")
    assert postgres.has_account(database, "operator")
    assert not postgres.has_account(database, "anna")
    Account.objects.filter(pk=account.pk).update(is_active=False)
    assert not postgres.has_account(database, "operator")


def test_a_database_that_does_not_answer_knows_nobody():
    assert not postgres.has_account("postgres://ups@127.0.0.1:1/ups", "operator")


@pytest.fixture
def described(tmp_path, monkeypatch, capsys):
    def describe(known):
        web = {"web": "http://web", "flower": "http://flower"}
        monkeypatch.setattr(locate, "addresses", lambda data_dir: web)
        monkeypatch.setattr(postgres, "has_account", lambda url, name: name in known)
        embedded.describe(tmp_path)
        return capsys.readouterr().out

    return describe


def test_the_operator_is_named_where_it_exists(described, tmp_path):
    out = described(["operator"])
    assert f"sign-in  operator, operator_password in {tmp_path / 'secrets.json'}" in out
    assert "createworkspace" not in out


@pytest.mark.django_db
def test_else_a_command_that_makes_an_account(described, monkeypatch, capsys):
    out = described([])
    assert "sign-in  with an account of yours" in out
    (line,) = [line for line in out.splitlines() if "createworkspace" in line]
    given, _, _, *words = shlex.split(line)
    monkeypatch.setenv(*given.split("=", 1))
    call_command(*words)
    account = Account.objects.get(username="anna")
    assert account.is_staff
    assert account.check_password("a long password")

"""The servers of this very session answer, with the settings that the tests got."""

import io
import os
from urllib.parse import urlsplit

import minio
import psycopg
import redis


def test_postgresql_has_vectors():
    with psycopg.connect(os.environ["UPS_DATABASE_URL"]) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        row = connection.execute("SELECT '[1,2]'::vector <-> '[1,5]'::vector").fetchone()
        assert row == (3.0,)
        connection.rollback()


def test_valkey_keeps_a_value():
    with redis.Redis.from_url(os.environ["UPS_BROKER_URL"]) as client:
        client.set("ups-test", "value")
        assert client.getdel("ups-test") == b"value"


def test_object_store_keeps_an_object():
    url = urlsplit(os.environ["UPS_OBJECT_STORE_URL"])
    client = minio.Minio(
        f"{url.hostname}:{url.port}",
        access_key=url.username,
        secret_key=url.password,
        secure=False,
    )
    bucket = url.path.strip("/")
    client.put_object(bucket, "ups-test", io.BytesIO(b"value"), 5)
    with client.get_object(bucket, "ups-test") as answer:
        assert answer.read() == b"value"
    client.remove_object(bucket, "ups-test")

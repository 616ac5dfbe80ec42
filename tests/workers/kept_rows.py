"""Rows that take long to make, made once and put back for each test that truncates the tables."""

from django.db import connection, transaction

SCHEMA = "kept_for_tests"
TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
    AND table_name NOT LIKE 'django%%' AND table_name NOT LIKE 'auth%%'
ORDER BY table_name
"""
COLUMNS = """
SELECT string_agg(format('%%I', column_name), ', ' ORDER BY ordinal_position)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s
"""


def tables(cursor):
    cursor.execute(TABLES.replace("%%", "%"))
    return [name for (name,) in cursor.fetchall()]


def keep():
    """Copy all rows aside."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
        for name in tables(cursor):
            cursor.execute(f"CREATE TABLE {SCHEMA}.{name} AS TABLE public.{name}")


def put_back():
    """Put the rows back into empty tables. (Foreign keys are checked at the commit.)"""
    with transaction.atomic(), connection.cursor() as cursor:
        for name in tables(cursor):
            cursor.execute(COLUMNS, [name])
            columns = cursor.fetchone()[0]
            cursor.execute(
                f"INSERT INTO public.{name} ({columns}) SELECT {columns} FROM {SCHEMA}.{name}"
            )
            if "id" in columns.split(", "):
                cursor.execute(
                    f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id::text::bigint))"
                    f" FROM public.{name} WHERE pg_get_serial_sequence('{name}', 'id') IS NOT NULL"
                )

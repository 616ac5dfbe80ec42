"""Add two objects of counts, key by key."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION ups_add_counts(a jsonb, b jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(key, total), '{}') FROM (
        SELECT key, sum(value::bigint) AS total
        FROM (SELECT * FROM jsonb_each_text(a) UNION ALL SELECT * FROM jsonb_each_text(b)) AS parts
        GROUP BY key
    ) AS sums
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("profiles", "0002_initial")]
    operations = [migrations.RunSQL(FORWARD, "DROP FUNCTION ups_add_counts(jsonb, jsonb)")]

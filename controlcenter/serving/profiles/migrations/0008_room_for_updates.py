"""Leave room in the pages: each event updates a profile, and in place no index is touched.

The indexes of profiles include one over the embeddings, where an insertion is expensive. Pages
that are full already get their room as their rows are updated. The function that added counts
is no longer called.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE profiles_profile SET (fillfactor = 70);
DROP FUNCTION ups_add_counts(jsonb, jsonb);
"""
BACKWARD = """
ALTER TABLE profiles_profile RESET (fillfactor);
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
    dependencies = [("profiles", "0007_explanation_views")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

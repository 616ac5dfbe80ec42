"""Reading an upload in a test: every report has to add up, nothing may be left behind."""

import io
import json
import zipfile
from datetime import UTC, datetime

import pytest

from ml.contracts.mapping import parse_mapping
from ml.data.tables import read_tables

NOW = datetime(2025, 7, 1, tzinfo=UTC)
PEOPLE = {
    "format": "wide",
    "columns": {
        "id": {"role": "id"},
        "fee": {"role": "numeric"},
        "plan": {"role": "categorical"},
        "tv": {"role": "product", "name": "TV"},
        "churn": {"role": "label"},
    },
}
FILES = {
    "users.csv": "user_id,monthly_fee,tenure_months,plan,level,device_brand,churn\n"
    "u1,1,2,a,b,c,0\nu2,,,,,,\n",
    "products.csv": "product_id,price,name\np1,9.5,TV\nboth,1,x\n",
    "apps.csv": "app_id,name\na1,Chat\nboth,y\n",
}
EVENTS = "type,actor,target,timestamp\n"


def check_sums(report):
    assert "\\u0000" not in json.dumps(report.to_dict())
    for quality in report.tables.values():
        assert quality.rows_read == quality.rows_kept + sum(quality.reasons.values())


@pytest.fixture
def people():
    """A wide mapping: id, fee, plan, tv, churn."""
    return json.loads(json.dumps(PEOPLE))


@pytest.fixture
def read(tmp_path):
    """Tables and report of some bytes, by the mapping of ``people`` if none is given."""

    def reading(data, mapping=None, filename="people.csv", **options):
        path = tmp_path / "received"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        mapping = mapping or parse_mapping(PEOPLE)
        tables, report = read_tables(path, mapping, filename=filename, now=NOW, **options)
        check_sums(report)
        assert [entry.name for entry in tmp_path.iterdir()] == ["received"]
        return tables, report

    return reading


@pytest.fixture
def read_events(read):
    """The same of lines of events, beside a few users, products and apps."""

    def reading(lines, header=EVENTS):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in {**FILES, "events.csv": header + lines}.items():
                archive.writestr(name, content)
        return read(out.getvalue(), parse_mapping(None), "upload.zip")

    return reading


@pytest.fixture
def rejected():
    def entries(report):
        return [(e.line, e.column, e.value, e.reason, e.effect) for e in report.rejected]

    return entries

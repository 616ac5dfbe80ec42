"""The documents are true: their links, commands, addresses, settings and examples are real."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.urls import Resolver404, resolve
from documents import DOCUMENTS, ROOT, ApiCall, Document, document

from controlcenter.lineage.serializers import KINDS
from controlcenter.modelling.datasets import mapping_text
from controlcenter.modelling.tasks import states
from controlcenter.modelling.tasks.spec.parameters import ParametersSerializer
from controlcenter.platform.common.api.filters import FilterBackend
from controlcenter.serving.profiles.serializers import ProfileSerializer
from controlcenter.settings import ENVIRONMENT
from ml.contracts.schema import TELECOM
from ml.data.quality import QualityReport
from ml.rules.rule_set import DEFAULT_RULES, compile_rule

OPERATORS, ANALYSTS = document("docs/operators.md"), document("docs/analysts.md")
CLIENTS, DATASETS = document("docs/api-clients.md"), document("docs/datasets.md")
TASKS = document("docs/tasks.md")
OUTSIDE_SETTINGS = {"UPS_OWNER_PASSWORD", "UPS_SHARED_DATA"}
LIST_QUERY = {"page", "page_size", "workspace", "limit", "format", "view", "background"}
MADE_LATER = (".venv/", "var/")

every_document = pytest.mark.parametrize("doc", DOCUMENTS, ids=str)


def source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@every_document
def test_links_lead_somewhere(doc: Document):
    missing = [link for link in doc.links if not (doc.path.parent / link.split("#")[0]).exists()]
    assert missing == []


def test_readme_names_every_page():
    pages = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")}
    assert pages <= set(document("README.md").links)


@every_document
def test_make_targets_are_in_the_makefile(doc: Document):
    targets = set(re.findall(r"^([a-z-]+):", source("Makefile"), re.M))
    named = {m for line in doc.commands for m in re.findall(r"\bmake ([a-z][a-z-]*)\b", line)}
    assert named <= targets


@every_document
def test_management_commands_take_what_they_are_given(doc: Document):
    for line in doc.commands:
        match = re.search(r"manage\.py ([a-z]\w*)([^|#;]*)", line)
        if match is None:
            continue
        name = match[1]
        assert name in get_commands(), line
        if "…" not in match[2]:
            command = load_command_class(get_commands()[name], name)
            command.create_parser("manage.py", name).parse_args(shlex.split(match[2]))


@every_document
def test_modules_that_are_run_are_there(doc: Document):
    for line in doc.commands:
        for module, rest in re.findall(r"python -m ([\w.]+)([^|#;]*)", line):
            assert importlib.util.find_spec(module), line
            if module == "controlcenter.embedded":
                words = [sys.executable, "-m", module, *shlex.split(rest), "--help"]
                assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == 0, line
            if module == "pytest":
                paths = [word for word in shlex.split(rest) if not word.startswith("--")]
                assert paths, line
                assert all((ROOT / path).exists() for path in paths), line


def view_of(call: ApiCall):
    """The view class behind a call, and the methods it takes there (none known: a function)."""
    try:
        match = resolve(call.path)
    except Resolver404:
        pytest.fail(f"there is no route {call.path}")
    view = getattr(match.func, "cls", None) or getattr(match.func, "view_class", None)
    actions = getattr(match.func, "actions", None)
    if actions is None:
        actions = [m for m in getattr(view, "http_method_names", ["get"]) if hasattr(view, m)]
    return view, {method.upper() for method in actions or ["get"]}


def filters_of(view) -> set[str]:
    if hasattr(view, "query_parameters"):  # no list: it names what it takes itself
        return set(view.query_parameters)
    return set(FilterBackend().get_filterset_class(view(), view.queryset).base_filters)


@every_document
def test_api_calls_have_a_route_that_takes_the_method(doc: Document):
    for call in doc.api_calls:
        view, methods = view_of(call)
        assert call.method is None or call.method in methods, call
        for part in call.query:
            name, _, value = part.partition("=")
            if name == "ordering":
                assert value.lstrip("-") in view.ordering_fields, call
            elif name not in LIST_QUERY:
                assert name in filters_of(view), call


def test_the_whole_path_of_a_client_is_shown():
    shown = {(call.method, call.path.split("/")[3]) for call in CLIENTS.api_calls if call.method}
    wanted = {("POST", "auth"), ("POST", "datasets"), ("POST", "tasks"), ("GET", "tasks")}
    assert wanted | {("GET", "users"), ("POST", "events"), ("GET", "events")} <= shown


def test_lists_take_the_filters_and_orders_that_are_named():
    for row in CLIENTS.table("list"):
        path, filters, orders = (re.findall(r"`([^`]+)`", cell) for cell in row)
        view, _ = view_of(ApiCall("GET", path[0], ()))
        assert filters_of(view) == set(filters), path
        assert set(view.ordering_fields) == set(orders), path


@every_document
def test_settings_are_real(doc: Document):
    assert set(re.findall(r"UPS_[A-Z_]*[A-Z]", doc.text)) <= set(ENVIRONMENT) | OUTSIDE_SETTINGS


def test_table_of_settings_is_complete():
    assert OPERATORS.names("variable") == list(ENVIRONMENT)


def test_defaults_in_the_table_are_those_of_the_settings():
    text = source("controlcenter/settings.py")
    numbers = dict(re.findall(r'env\.\w+\(\s*"(UPS_\w+)", default=([\d.* ]+)\)', text))
    told = {row[0].strip("`"): row[1].split(" ")[0] for row in OPERATORS.table("variable")}
    assert len(numbers) >= 6
    assert {name: float(told[name]) for name in numbers} == {
        name: float(eval(value)) for name, value in numbers.items()
    }


def test_there_are_examples_to_look_at():
    """Else the two tests of them would hold of nothing."""
    assert any(doc.blocks("json") for doc in DOCUMENTS)
    assert any(rules_of(doc) for doc in DOCUMENTS)


@every_document
def test_examples_in_json_are_json(doc: Document):
    for block in doc.blocks("json"):
        json.loads(block)


def test_mappings_are_accepted():
    blocks = [block for block in DATASETS.blocks("yaml", "json") if "format" in block]
    assert len(blocks) == 3
    for block in blocks:
        assert mapping_text.read(block) is not None


def test_wide_example_is_a_part_of_the_telco_mapping():
    example = yaml.safe_load(DATASETS.blocks("yaml")[0])["columns"]
    assert example.items() <= yaml.safe_load(source("examples/telco.yaml"))["columns"].items()


def rules_of(doc: Document) -> list[str]:
    lines = [line for block in doc.blocks("rule") for line in block.splitlines()]
    return lines + re.findall(r'"expression": "([^"]+)"', doc.text)


@every_document
def test_rules_compile(doc: Document):
    for line in rules_of(doc):
        compile_rule(line, TELECOM)


def test_default_rules_are_told_as_they_are():
    rows = [
        [c.strip("`").replace("\N{MINUS SIGN}", "-") for c in row] for row in ANALYSTS.table("name")
    ]
    told = [(name, expression, float(weight)) for name, expression, weight in rows]
    assert told == [(rule.name, rule.expression, rule.weight) for rule in DEFAULT_RULES]


@every_document
def test_paths_of_the_repository_exist(doc: Document):
    top = {path.name for path in ROOT.iterdir()}
    for code in doc.code:
        if re.fullmatch(r"\.?[\w-]+(\.\w+|/[\w./-]*)", code) and code.split("/")[0] in top:
            assert (ROOT / code).exists() or code.startswith(MADE_LATER), code


def test_metrics_and_alerts_are_those_that_there_are():
    exported = set(re.findall(r'"(ups_\w+)"', source("controlcenter/operations/prometheus.py")))
    assert set(OPERATORS.names("metric")) == exported
    rules = yaml.safe_load(source("deploy/prometheus/alerts.yml"))["groups"][0]["rules"]
    assert [row[0] for row in OPERATORS.table("alert")] == [rule["alert"] for rule in rules]


def test_every_state_of_a_task_is_told():
    assert set(TASKS.names("state")) == {state for state, _ in states.CHOICES}


def test_parameters_of_a_task_are_all_told():
    assert set(CLIENTS.names("parameter")) == set(ParametersSerializer().fields)


def test_fields_of_a_profile_are_all_told():
    assert set(ANALYSTS.names("field")) == set(ProfileSerializer().fields)


def test_kinds_of_the_lineage_are_all_told():
    assert ANALYSTS.names("kind") == KINDS


def test_fields_of_the_quality_report_are_all_told():
    assert set(DATASETS.names("field")) == set(QualityReport().to_dict())

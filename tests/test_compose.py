"""docker-compose.yml describes the system that `make up` starts: no engine needed to see it."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from controlcenter.embedded import processes

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
EXAMPLE = dict(
    re.findall(r"^#? ?(\w+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)
)
USED = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN$|ACCESS_KEY|AUTH$")
PUBLISHED = {"web", "flower", "grafana"}
ONCE = {"migrate"}
HERE = {"host": "0.0.0.0", "http_port": 8000, "flower_port": 5555, "data_dir": "/var/lib/ups"}
APPLICATIONS = {one.name: one for one in (*processes.APPLICATIONS, processes.MIGRATION)}


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_starts_the_same_command_as_make_up(name):
    assert shlex.split(SERVICES[name]["command"]) == APPLICATIONS[name].argv(**HERE)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_gives_what_the_process_needs(name):
    given = environment(name)
    assert APPLICATIONS[name].environment.items() <= given.items()
    assert {"UPS_DATABASE_URL", "UPS_BROKER_URL", "UPS_OBJECT_STORE_URL"} <= set(given)


def test_runs_every_application_and_every_server():
    servers = {"postgres", "valkey", "seaweedfs", "minio", "prometheus", "grafana"}
    assert set(SERVICES) == set(APPLICATIONS) | servers


def test_knows_every_setting_it_gives():
    from controlcenter.settings import ENVIRONMENT

    given = {name for service in SERVICES for name in environment(service)} | USED
    assert {name for name in given if name.startswith("UPS_")} <= set(ENVIRONMENT)


def test_example_explains_every_variable():
    assert set(EXAMPLE) == USED | set(re.findall(r"environment: (\w+)}", TEXT))


def test_has_no_default_passwords():
    for name in USED:
        if SECRET.search(name):
            uses = re.findall(r"\$\{" + name + r"([^}]*)\}", TEXT)
            assert set(uses) == {f":?set {name}"}, name
            assert EXAMPLE[name] == "", name


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_come_from_variables_alone(service):
    for name, value in environment(service).items():
        if SECRET.search(name):
            assert re.search(r"\$\{\w+:\?set \w+\}", value), (service, name)


@pytest.mark.parametrize("service", SERVICES)
def test_publishes_only_what_people_use_and_on_the_loopback(service):
    ports = SERVICES[service].get("ports", [])
    assert bool(ports) == (service in PUBLISHED)
    assert all(port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:") for port in ports)
    assert ("edge" in SERVICES[service]["networks"]) == (service in PUBLISHED)


def test_inner_network_has_no_way_out():
    assert COMPOSE["networks"]["inside"]["internal"] is True


@pytest.mark.parametrize("service", sorted(set(SERVICES) - ONCE))
def test_has_a_health_check_and_restarts(service):
    assert SERVICES[service]["healthcheck"]["test"]
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", SERVICES)
def test_image_is_pinned(service):
    image = SERVICES[service]["image"]
    own = image.startswith("ups-") and image.endswith(":${IMAGE_TAG:-latest}")
    assert own or re.search(r":[\w.-]*\d[\w.-]*$", image), image


@pytest.mark.parametrize("name", [one for one in SERVICES if one.startswith("worker-")])
def test_worker_has_time_to_hand_back(name):
    assert SERVICES[name]["stop_grace_period"] == "120s"
    assert APPLICATIONS[name].environment.items() <= environment(name).items()


def test_gpu_worker_reserves_a_gpu_and_insists_on_it():
    worker = SERVICES["worker-refresh-gpu"]
    device = worker["deploy"]["resources"]["reservations"]["devices"][0]
    assert device["capabilities"] == ["gpu"]
    assert environment("worker-refresh-gpu")["UPS_DEVICE"] == "gpu"


def test_broker_keeps_what_it_was_given():
    lines = COMPOSE["configs"]["valkey"]["content"].splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(lines)
    assert "requirepass ${VALKEY_PASSWORD:?set VALKEY_PASSWORD}" in lines


def test_volumes_are_declared_and_used():
    mounts = {m.split(":")[0] for one in SERVICES.values() for m in one.get("volumes", [])}
    assert {m for m in mounts if not m.startswith("./")} == set(COMPOSE["volumes"])
    assert all((ROOT / m).exists() for m in mounts if m.startswith("./"))


def test_prometheus_scrapes_the_control_center():
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    job = next(one for one in config["scrape_configs"] if one["job_name"] == "ups")
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"][0]["targets"] == ["web:8000"]
    assert "web" in environment("web")["UPS_ALLOWED_HOSTS"].split(",")


def test_dashboard_reads_the_provisioned_source():
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/ups.json").read_text("utf-8"))
    source = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text("utf-8")
    )["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"

"""One refresh from end to end, through the REST API, as an operator's program would do it."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from controlcenter.embedded import locate
from controlcenter.operations.demo import show
from controlcenter.operations.demo.client import DemoClient, RequestFailed
from controlcenter.platform.accounts.models import Account, Token, Workspace
from controlcenter.platform.accounts.services import create_workspace, issue_token
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.reports.version import VersionMetrics

OPERATOR = "operator"
TOKEN_NAME = "demo"  # noqa: S105 (a name, not a secret)
TELCO = "Telco-Customer-Churn.csv"
MAPPING = settings.BASE_DIR / "examples" / "telco.yaml"


class Command(BaseCommand):
    """Leaves the system as it found it, plus a workspace, a dataset and a model version."""

    help = "Show one refresh from upload to explanation and write var/demo.json."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--data", default="", help=f"folder with {TELCO}, or a CSV file")
        parser.add_argument("--mapping", default=str(MAPPING), help="what its columns mean")
        parser.add_argument("--users", type=int, default=5_000)
        parser.add_argument("--events", type=int, default=200_000)

    def handle(self, *args: Any, **options: Any) -> None:
        secrets = locate.secrets(settings.DATA_DIR)
        addresses = locate.addresses(settings.DATA_DIR)
        slug = "telco" if options["data"] else "demo"
        token = sign_in(slug, password=secrets["operator_password"])
        client = DemoClient(addresses["web"], token=token, workspace=slug)
        try:
            report = self.run(client, options)
        except RequestFailed as error:
            raise CommandError(str(error)) from error
        report["urls"] = urls(addresses, slug)
        path = settings.DATA_DIR / "demo.json"
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False))
        self.title("Where to look")
        for name, url in report["urls"].items():
            self.stdout.write(f"  {name:<8} {url}")
        self.stdout.write(f"  sign-in  {OPERATOR} / {secrets['operator_password']}")
        self.stdout.write(f"  Flower   {OPERATOR} / {secrets['flower_password']}")
        self.stdout.write(f"\nThe same as data: {path}\nStop the system: make down")
        if report["state"] != "completed":
            raise CommandError(f"the task ended {report['state']}: {report['error']}")

    def run(self, client: DemoClient, options: dict[str, Any]) -> dict[str, Any]:
        """From data to a task's end; what came of it."""
        dataset = self.dataset(client, options)
        task = client.call("POST", "/tasks/", {"dataset": dataset["id"], "name": "Demo"})
        self.title(f"Task {task['id']}")
        for kind, data in client.follow(task["id"]):
            self.event(kind, data)
        task = client.call("GET", f"/tasks/{task['id']}/")
        runs = client.call("GET", f"/tasks/{task['id']}/executions/")
        report: dict[str, Any] = {
            "state": task["state"],
            "error": task["error"],
            "task": task["id"],
            "dataset": dataset["id"],
            "seconds": seconds(runs),
        }
        if task["state"] == "completed":
            report |= self.results(client, task, report["seconds"])
        return report

    def dataset(self, client: DemoClient, options: dict[str, Any]) -> dict[str, Any]:
        """A dataset that is ready: uploaded, or synthesized where no data is given.

        Raises:
            CommandError: if it turned out invalid.
        """
        if options["data"]:
            path = data_file(Path(options["data"]))
            self.title(f"Uploading {path.name}")
            mapping = mapping_text(Path(options["mapping"]))
            self.stdout.write(f"  mapping {options['mapping']}")
            created = client.upload(path, name=path.stem, mapping=mapping)
        else:
            self.title("A synthetic telecom population")
            sizes = {name: options[name] for name in ("users", "events")}
            created = client.call("POST", "/datasets/synthesize/", sizes)
        dataset: dict[str, Any] = client.wait_for_dataset(created["id"])
        if dataset["state"] != "ready":
            raise CommandError(f"the dataset is {dataset['state']}: {dataset['error']}")
        rows = ", ".join(f"{count} {table}" for table, count in dataset["rows"].items())
        self.stdout.write(f"  {rows}; sha256 {dataset['sha256'][:12]}…, {dataset['size']} bytes")
        return dataset

    def event(self, kind: str, data: dict[str, Any]) -> None:
        """Print one event of the task; progress stays on one line of a terminal."""
        clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        if kind == "state":
            self.stdout.write(f"{clear}  → {data['to']}")
        elif kind == "progress":
            done = round(data["share"] * show.BAR)
            bar = "█" * done + "·" * (show.BAR - done)
            line = f"    {data['stage']:<10} {bar} {data['share']:4.0%} {data['message']}"
            self.stdout.write(f"{clear}{line}", ending="" if clear else "\n")
            self.stdout.flush()
        elif kind != "end":
            self.stdout.write(f"{clear}  {kind}: {data}")

    def results(
        self, client: DemoClient, task: dict[str, Any], times: dict[str, float]
    ) -> dict[str, Any]:
        """Print what the task reached and one user; the same as data."""
        metrics = VersionMetrics.from_dict(task["metrics"])
        self.title("Stages")
        self.stdout.write(show.stages(times))
        ways = {row.split for row in metrics.links.edge_types.values()}
        self.title(f"Links, held out: {', '.join(sorted(ways)) or 'there are none'}")
        self.stdout.write(show.links(metrics.links))
        self.title("Score")
        self.stdout.write(show.score(metrics.score))
        user_id = client.call("GET", "/users/", ordering="-final_score", page_size=1)["results"][0][
            "user_id"
        ]
        user = client.call("GET", f"/users/{user_id}/")
        offers = client.call("GET", f"/users/{user_id}/recommendations/")["recommendations"]
        explanation = self.explanation(client, user_id)
        self.title("A user")
        self.stdout.write(show.profile(user))
        self.title("What to offer, and why")
        self.stdout.write(show.offers(offers))
        self.title(f"Why this score ({explanation['method']}, {explanation['scale']})")
        validated = explanation["score_validated"]
        report = ExplanationReport.from_dict(explanation)
        self.stdout.write(show.bars(report, validated=validated))
        return {
            "metrics": task["metrics"]["links"]["edge_types"],
            "score": task["metrics"]["score"],
            "profile": user,
            "recommendations": offers,
            "explanation": explanation,
        }

    def explanation(self, client: DemoClient, user_id: str) -> dict[str, Any]:
        """Wait for the explanation of a user's score.

        Raises:
            CommandError: if it failed.
        """
        while True:
            explanation: dict[str, Any] = client.call("GET", f"/users/{user_id}/explanation/")
            if explanation["state"] == "failed":
                raise CommandError(f"no explanation: {explanation['error']}")
            if explanation["state"] == "ready":
                return explanation

    def title(self, text: str) -> None:
        self.stdout.write(f"\n{self.style.MIGRATE_HEADING(text)}")


@transaction.atomic
def sign_in(slug: str, *, password: str) -> str:
    """A token of the operator, who is made with the workspace when there is none."""
    account = Account.objects.filter(username=OPERATOR).first()
    if account is None:
        account = Account.objects.create_user(OPERATOR, password=password, is_staff=True)
    if not Workspace.objects.filter(slug=slug).exists():
        create_workspace(slug=slug, name=f"{slug.capitalize()} workspace", owner=account)
    Token.objects.filter(user=account, name=TOKEN_NAME).delete()
    _, token = issue_token(account=account, name=TOKEN_NAME)
    return token


def data_file(path: Path) -> Path:
    """The file to upload.

    Raises:
        CommandError: if there is none.
    """
    path = path / TELCO if path.is_dir() else path
    if not path.is_file():
        raise CommandError(f"there is no {path}: give a folder with {TELCO}, or a CSV file")
    return path


def mapping_text(path: Path) -> str:
    """What the file says.

    Raises:
        CommandError: if there is none.
    """
    if not path.is_file():
        raise CommandError(f"there is no mapping {path}: see docs/datasets.md, and {MAPPING}")
    return path.read_text(encoding="utf-8")


def seconds(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds by stage, of the attempts that were done."""
    durations = {}
    for run in runs:
        if run["status"] == "done":
            begin, end = (datetime.fromisoformat(run[k]) for k in ("started_at", "finished_at"))
            durations[run["kind"]] = round((end - begin).total_seconds(), 3)
    return durations


def urls(addresses: dict[str, str], slug: str) -> dict[str, str]:
    """Where to look at the demo."""
    web = addresses["web"]
    return {
        "admin": f"{web}/admin/",
        "api": f"{web}/api/v1/?workspace={slug}",
        "docs": f"{web}/api/docs/",
        "flower": f"{addresses['flower']}/",
    }

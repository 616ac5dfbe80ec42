"""What the documents say, cut into parts that can be checked."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
CURL = re.compile(r'\bcurl\b((?:(?!\bcurl\b).)*?)"\$BASE(/[^"\s]*)"', re.S)
SERVED = r"/(?:api|admin|health|livez|readyz|metrics)\b[\w{}$./?=&-]*"
CALL = re.compile(rf"^(?:(GET|POST|PUT|PATCH|DELETE) )?({SERVED})$")
SAMPLES = {
    "TASK": "id",
    "DATASET": "id",
    "VERSION": "id",
    "SCHEDULE": "id",
    "TOKEN_ID": "id",
    "USER_ID": "name",
    "WEBHOOK": "id",
}
ID = "00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class ApiCall:
    """One call of the API as a document names it; ``method`` is None where it names none."""

    method: str | None
    path: str
    query: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method or 'any'} {self.path}"


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def links(self) -> list[str]:
        """Targets of its links, without those to other sites."""
        targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", self.text))
        return [target for target in targets if "://" not in target]

    def blocks(self, *languages: str) -> list[str]:
        """Contents of its fenced blocks in these languages."""
        return [body for language, body in FENCE.findall(self.text) if language in languages]

    @cached_property
    def code(self) -> list[str]:
        """What stands between backticks in its sentences and tables."""
        return re.findall(r"`([^`\n]+)`", FENCE.sub("", self.text))

    @property
    def commands(self) -> list[str]:
        """Lines to type: of its shell blocks, and what stands between backticks."""
        joined = "\n".join(self.blocks("sh")).replace("\\\n", " ")
        return [*joined.splitlines(), *self.code]

    @property
    def api_calls(self) -> list[ApiCall]:
        """Calls by ``curl`` and those named in its sentences."""
        found = []
        for source in ["\n".join(self.blocks("sh")), *self.code]:
            for options, address in CURL.findall(source):
                found.append(_call(_method(options), address))
        for code in self.code:
            match = CALL.match(code)
            if match:
                found.append(_call(match[1], match[2]))
        return found

    def table(self, heading: str) -> list[list[str]]:
        """Rows of the first table whose first column is headed ``heading``, cells as they are."""
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith(f"| {heading} |"):
                next(lines)
                break
        rows = []
        for line in lines:
            if not line.startswith("|"):
                break
            cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
            rows.append([cell.strip() for cell in cells])
        assert rows, f"{self} has no table headed {heading!r}"
        return rows

    def names(self, heading: str, column: int = 0) -> list[str]:
        """What stands between backticks in one column of a table."""
        cells = [row[column] for row in self.table(heading)]
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def _method(options: str) -> str:
    given = re.search(r"-X ([A-Z]+)", options)
    sends = re.search(r"(^|\s)(-d|-F|--data-binary)\s", options)
    return given[1] if given else "POST" if sends else "GET"


def _call(method: str | None, address: str) -> ApiCall:
    path, _, query = address.partition("?")
    path = re.sub(r"\$(\w+)", lambda m: ID if SAMPLES[m[1]] == "id" else "u1", path)
    path = re.sub(r"\{(\w+)\}", lambda m: ID if m[1] == "id" else "u1", path)
    return ApiCall(method, path, tuple(part for part in query.split("&") if part))


DOCUMENTS = [
    Document(path)
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
]


def document(name: str) -> Document:
    """The document at a path below the repository's root."""
    return Document(ROOT / name)

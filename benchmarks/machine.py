"""What a measurement was made on: hardware, packages and commit; no names of hosts, no paths."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
# Distribution → module; given where the module was imported, so that it can matter.
PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "polars": "polars",
    "numba": "numba",
    "torch": "torch",
    "torch-geometric": "torch_geometric",
    "shap": "shap",
    "scikit-learn": "sklearn",
    "Django": "django",
    "psycopg": "psycopg",
}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
    """CPU, cores, memory and, where torch sees one, GPU."""
    facts: dict[str, Any] = {
        "cpu": cpu(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def cpu() -> str:
    """The CPU's model as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python, and what was imported of the packages that speed depends on."""
    imported = {name for name, module in PACKAGES.items() if module in sys.modules}
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES if name in imported
    }


def commit() -> str:
    """The commit, with ``+`` where the code differs from it; ``unknown`` without git."""
    head = git("rev-parse", "--short=10", "HEAD")
    changed = git("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    return "unknown" if not head else head + ("+" if changed else "")


def git(*words: str) -> str:
    told = subprocess.run(
        ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() if told.returncode == 0 else ""

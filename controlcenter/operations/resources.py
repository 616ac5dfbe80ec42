"""CPU, memory and GPU of the machine that answers."""

import shutil
import subprocess
from typing import Any

import psutil

GPU_QUERY = [
    "--query-gpu=name,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
]
MIB = 2**20


def gpus() -> list[dict[str, Any]]:
    """One entry a GPU that ``nvidia-smi`` sees; none where there is no such tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    answer = subprocess.run(
        [tool, *GPU_QUERY], capture_output=True, text=True, timeout=5, check=False
    )
    if answer.returncode != 0:
        return []
    devices = []
    for line in answer.stdout.splitlines():
        name, percent, used, total = (part.strip() for part in line.split(","))
        devices.append(
            {
                "name": name,
                "percent": float(percent),
                "memory_used_bytes": int(used) * MIB,
                "memory_total_bytes": int(total) * MIB,
            }
        )
    return devices


def snapshot() -> dict[str, Any]:
    """Machine and process, now: percent and bytes."""
    process = psutil.Process()
    memory = psutil.virtual_memory()
    return {
        "cpu_percent": psutil.cpu_percent(interval=0.1),
        "cpu_count": psutil.cpu_count(),
        "memory_used_bytes": memory.total - memory.available,
        "memory_total_bytes": memory.total,
        "process_rss_bytes": process.memory_info().rss,
        "process_cpu_percent": process.cpu_percent(interval=None),
        "gpus": gpus(),
    }

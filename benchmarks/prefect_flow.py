"""Flows of three tasks that do nothing, by Prefect alone: run by the Python that has it.

    python prefect_flow.py FLOWS

Prints ``ready``, waits for a line, calls the flow so many times and prints ``done``.
"""

import sys

from prefect import flow, task  # type: ignore[import-not-found]


@task  # type: ignore[untyped-decorator]
def building() -> None:
    """Nothing."""


@task  # type: ignore[untyped-decorator]
def training() -> None:
    """Nothing."""


@task  # type: ignore[untyped-decorator]
def embedding() -> None:
    """Nothing."""


@flow  # type: ignore[untyped-decorator]
def refresh() -> None:
    """One flow run."""
    building()
    training()
    embedding()


if __name__ == "__main__":
    refresh()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[1])):
        refresh()
    print("done", flush=True)

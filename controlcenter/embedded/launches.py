"""From the table of processes and the chosen ports to commands that can be started here."""

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from controlcenter.embedded import locate
from controlcenter.embedded.children import Launch
from controlcenter.embedded.processes import Application
from controlcenter.embedded.servers import Server
from controlcenter.embedded.state import choose_port

APPLICATION_PORTS = {"web": ("UPS_HTTP_PORT", 8000), "flower": ("UPS_FLOWER_PORT", 5555)}
FOLLOWING = {"admin_grpc": ("admin", 10_000)}  # SeaweedFS' own client expects it there


def server_ports(server: Server, *, ports: dict[str, int]) -> bool:
    """Give a server that does not run free ports, the ones it had if they still are.

    Returns:
        Whether any port differs from what it was.
    """
    before = dict(ports)
    for name in server.ports:
        reserved = [port for other, port in ports.items() if other != name]
        preferred = [ports[name]] if name in ports else []
        if name in FOLLOWING:
            leader, distance = FOLLOWING[name]
            preferred = [ports[leader] + distance, *preferred]
        ports[name] = choose_port(preferred=preferred, reserved=reserved)
    return any(name in before and before[name] != ports[name] for name in server.ports)


def application_port(name: str, *, ports: dict[str, int]) -> None:
    """Choose the port of ``web`` or ``flower``: the one asked for, the last one, or a usual one."""
    setting, usual = APPLICATION_PORTS[name]
    configured = os.environ.get(setting)
    preferred = [int(configured)] if configured else []
    preferred += [ports[name]] if name in ports else []
    preferred += range(usual, usual + 10)
    reserved = [port for other, port in ports.items() if other != name]
    ports[name] = choose_port(preferred=preferred, reserved=reserved)


def application(
    app: Application, *, data_dir: Path, ports: Mapping[str, int], secrets: Mapping[str, str]
) -> Launch:
    """How to start one application process of this system here, on the loopback."""
    flower = {"FLOWER_BASIC_AUTH": f"operator:{secrets['flower_password']}"}
    return Launch(
        name=app.name,
        argv=executable(
            app.argv(
                host="127.0.0.1",
                http_port=ports["web"],
                flower_port=ports["flower"],
                data_dir=data_dir,
            )
        ),
        cwd=locate.REPOSITORY,
        log=data_dir / "logs" / f"{app.name}.log",
        environment={
            **settings_environment(data_dir=data_dir, ports=ports),
            **app.environment,
            **(flower if app.name == "flower" else {}),
        },
        grace_seconds=app.grace_seconds,
    )


def settings_environment(*, data_dir: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """The settings that application processes get: the caller's, and where they are."""
    given = {name: value for name, value in os.environ.items() if name.startswith("UPS_")}
    flower = f"http://127.0.0.1:{ports['flower']}"
    return {
        "UPS_FLOWER_URL": flower,
        **given,
        "UPS_DATA_DIR": str(data_dir),
        "UPS_HTTP_PORT": str(ports["web"]),
        "UPS_FLOWER_PORT": str(ports["flower"]),
    }


def executable(argv: list[str]) -> tuple[str, ...]:
    """The same command with its program taken from this Python's environment."""
    if argv[0] == "python":
        return (sys.executable, *argv[1:])
    return (str(Path(sysconfig.get_path("scripts")) / argv[0]), *argv[1:])

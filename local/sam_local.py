"""`sam local` on the tables, buckets and queues of `make run`: AWS's own gateway and runtime images, in Docker."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from local.errors import LocalError
from local.services.server_process import HOST
from local.template.document import Template
from local.template.stack import read_stack

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST_IN_CONTAINERS: Final = "host.docker.internal"
_CHUNK: Final = 65536


def main(arguments: list[str]) -> int:
    """Serve until interrupted, and return sam's exit code."""
    data = Path(os.environ.get("DATA_DIR") or ".local")
    try:
        running = json.loads((data / "endpoints.json").read_text(encoding="ascii"))
    except FileNotFoundError:
        print(f"error: no service in {data}: start one with `make run`", file=sys.stderr)  # noqa: T201 - to the terminal
        return 1
    try:
        variables = data / "sam-local.json"
        variables.touch(mode=0o600)
        variables.write_text(json.dumps(_variables(running), indent=2), encoding="utf-8")
        return asyncio.run(_serve(running, variables, arguments))
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - to the terminal
        return 1


def _variables(running: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return each function's variables as under `make run`, with addresses that its container can reach."""
    template = Template(
        Path("template.yaml"), {}, stack_id="arn:aws:cloudformation:us-east-1:123456789012:stack/local/1"
    )
    stack = read_stack(template)

    def endpoint(name: str) -> str:
        service = "dynamodb" if name.endswith("_DYNAMODB") else "aws"
        return running[service].replace(HOST, HOST_IN_CONTAINERS)

    return {
        name: {
            variable: endpoint(variable) if variable.startswith("AWS_ENDPOINT_URL") else value
            for variable, value in function.environment.items()
        }
        for name, function in stack.functions.items()
    }


async def _serve(running: Mapping[str, str], variables: Path, arguments: list[str]) -> int:
    ports = {urlsplit(running[service]).port for service in ("dynamodb", "aws")}
    relays = []
    if platform.system() == "Linux":
        # On Linux, a container reaches the machine by the bridge's address, where the engines do not listen.
        bridge = _bridge()
        relays = [await asyncio.start_server(partial(_relay, port), bridge, port) for port in ports if port is not None]
    # Nothing may reach, or depend on, a real account, and containers must not get its keys.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}
    architecture = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("sam")),
        "local",
        "start-api",
        "--port",
        "3001",
        "--warm-containers",
        "LAZY",
        "--env-vars",
        str(variables),
        "--parameter-overrides",
        f"Architecture={architecture}",
        "--add-host",
        f"{HOST_IN_CONTAINERS}:host-gateway",
        *arguments,
        env=environment,
    )
    loop = asyncio.get_running_loop()
    # Ctrl-C reaches sam too, which then removes its containers.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    code = await process.wait()
    for relay in relays:
        relay.close()
    return code


def _bridge() -> str:
    """Return the machine's address in Docker's own network. If Docker names none, it uses the first one."""
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own arguments
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise LocalError("Docker is needed, but does not answer") from error
    network = json.loads(done.stdout)[0]
    return str(network.get("Gateway") or next(ip_network(network["Subnet"]).hosts()))


async def _relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there_reader, there_writer = await asyncio.open_connection(HOST, port)
    await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

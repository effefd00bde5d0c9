"""Finding a running runtime, and starting one when there is none.

The endpoint file says where a runtime is; whether it lives is only known by connecting. Two
servers may start one at the same moment: the lock lets a single one live and both connect to it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dgemma_wire import endpoint as endpoints
from dgemma_wire.errors import RuntimeNotInstalled, RuntimeStartFailed
from dgemma_wire.settings import RuntimeSettings

log = logging.getLogger(__name__)

START_S = 30.0
"""How long a started process may take until it can be connected to; loading comes after that."""
_POLL_S = 0.02
_DETACHED: int = (
    subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    if sys.platform == "win32"
    else 0
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


REMOTE_MODEL = "vllm:"
"""What a model begins with that a server runs: the runtime needs no torch for it."""


def find_command(configured: Sequence[str], model: str = "") -> list[str]:
    """Return the command that starts a runtime, without its flags.

    Args:
        configured: What a person set; empty to look for one.
        model: What it is to run.

    Raises:
        RuntimeNotInstalled: None was found.
    """
    if configured:
        return list(configured)
    needed = ("httpx2", "tokenizers") if model.startswith(REMOTE_MODEL) else ("torch",)
    if all(importlib.util.find_spec(name) for name in ("dgemma_runtime", *needed)):
        return [sys.executable, "-m", "dgemma_runtime"]
    if (found := shutil.which("dgemma-runtime")) is not None:
        return [found]
    extra = "remote" if model.startswith(REMOTE_MODEL) else "runtime"
    raise RuntimeNotInstalled(
        f"No runtime is installed. Install it with: pip install 'dgemma[{extra}]' - or set "
        "dgemma.runtimeCommand to a dgemma-runtime in another environment."
    )


def flags(settings: RuntimeSettings) -> list[str]:
    """Return the flags that start a runtime with these settings; defaults are left out."""
    given: list[str] = []
    for field in msgspec.structs.fields(RuntimeSettings):
        value: object = getattr(settings, field.name)
        if value != field.default:
            name = "--" + field.name.replace("_", "-")
            given += [name] if value is True else [name, str(value)]
    return given


async def connect(
    settings: RuntimeSettings,
    command: Sequence[str],
    directory: Path,
    *,
    start: bool = True,
    start_s: float = START_S,
) -> tuple[Streams, endpoints.Endpoint] | None:
    """Connect to the model's runtime, starting one when none answers.

    Returns:
        The streams and the endpoint they lead to; ``None`` when none runs and ``start`` is false.

    Raises:
        RuntimeNotInstalled: There is no command to start one with.
        RuntimeStartFailed: It exited, or cannot be connected to after ``start_s`` seconds.
    """
    file = endpoints.endpoint_path(directory, settings.model)
    child: subprocess.Popen[bytes] | None = None
    log_file = directory / f"{endpoints.model_key(settings.model)}.start.log"
    until = time.monotonic() + start_s
    while True:
        endpoint = endpoints.read_endpoint(file)
        if endpoint is not None and (streams := await _open(endpoint)) is not None:
            return streams, endpoint
        if not start:
            return None
        if child is None:
            found = find_command(command, settings.model)
            child = _spawn([*found, *flags(settings)], log_file)
        status = child.poll()
        if status not in (None, endpoints.EXIT_ALREADY_RUNNING):
            raise RuntimeStartFailed(
                f"The runtime ended with status {status}: {_tail(log_file) or 'it said nothing'}"
            )
        if time.monotonic() > until:
            raise RuntimeStartFailed(
                f"A runtime holds {endpoints.lock_path(directory, settings.model)} but does not "
                f"answer; end it and try again."
                if status == endpoints.EXIT_ALREADY_RUNNING
                else f"The runtime did not answer within {start_s:.0f} s: "
                f"{_tail(log_file) or 'it said nothing'}"
            )
        await asyncio.sleep(_POLL_S)


async def _open(endpoint: endpoints.Endpoint) -> Streams | None:
    try:
        if endpoint.path is not None:
            return await asyncio.open_unix_connection(endpoint.path)
        return await asyncio.open_connection(endpoint.host, endpoint.port)
    except OSError:
        return None  # left behind by a process that died


def _spawn(command: list[str], log_file: Path) -> subprocess.Popen[bytes]:
    log.info("starting the runtime: %s", " ".join(command))
    log_file.touch(mode=0o600)
    try:
        with log_file.open("wb") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                cwd=Path.home(),
                # It outlives the editor that started it.
                start_new_session=True,
                creationflags=_DETACHED,
            )
    except OSError as err:
        raise RuntimeStartFailed(
            f"{command[0]} cannot be started: {err.strerror or err}. See dgemma.runtimeCommand."
        ) from err


def _tail(log_file: Path, chars: int = 600) -> str:
    try:
        return log_file.read_text(errors="replace").strip()[-chars:]
    except OSError:
        return ""

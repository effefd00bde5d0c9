"""The command ``dgemma-runtime``: flags to settings, logging, then ``process.serve``.

Every setting of ``RuntimeSettings`` is a flag; none is declared twice.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
import logging.handlers
import os
import platform
import sys
from importlib import metadata
from typing import get_args

import msgspec
import platformdirs

from dgemma_runtime import process
from dgemma_runtime.catalog import command
from dgemma_runtime.catalog.planned import planned_by_name
from dgemma_runtime.engine import make_engine
from dgemma_runtime.engine.base import LoadProgress
from dgemma_runtime.remote import is_remote
from dgemma_wire import PROTOCOL_VERSION, address, endpoint
from dgemma_wire.errors import DgemmaError, SettingsError
from dgemma_wire.settings import RuntimeSettings

INSTALL = "pip install 'dgemma[runtime]'"
LOG_VARIABLE = "DGEMMA_LOG"


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(
        prog="dgemma-runtime",
        description="Run the model for every editor of this user. Language servers start this "
        "by themselves; by hand it is useful on another machine or to watch its log.",
    )
    made.add_argument("--version", action="version", version=release())
    for field in msgspec.structs.fields(RuntimeSettings):
        add_setting(made, field)
    made.add_argument(
        "--transport",
        choices=get_args(process.Transport),
        default="auto",
        help="Unix socket, or loopback TCP as on Windows (default: %(default)s).",
    )
    made.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="Listen at tcp://127.0.0.1:PORT or unix:///PATH for editors on another machine, "
        "reached through SSH: docs/remote.md.",
    )
    made.add_argument(
        "--token-file",
        metavar="FILE",
        help="With --listen: file with the token that editors elsewhere know, made when it is "
        "missing; the environment variable DGEMMA_TOKEN goes before it (default: `token` in "
        "dgemma's configuration folder).",
    )
    made.add_argument(
        "--allow-unencrypted",
        action="store_true",
        help="Let --listen be reachable from other machines, without encryption.",
    )
    made.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default=os.environ.get(LOG_VARIABLE, "info").lower(),
        help="What the log file keeps; source text appears at debug alone (default: %(default)s).",
    )
    made.add_argument(
        "--foreground", action="store_true", help="Log to the terminal instead of the log file."
    )
    what = made.add_mutually_exclusive_group()
    what.add_argument(
        "--fetch", action="store_true", help="Fetch and check the model's files, then end."
    )
    what.add_argument(
        "--probe",
        action="store_true",
        help="Print as JSON what this environment can run, without loading a model.",
    )
    command.add_command(made.add_subparsers(dest="command", metavar="COMMAND"))
    return made


def add_setting(made: argparse.ArgumentParser, field: msgspec.structs.FieldInfo) -> None:
    """Add one setting as a flag, with its description and default."""
    info = msgspec.inspect.type_info(field.type)
    assert isinstance(info, msgspec.inspect.Metadata), field.name
    schema = info.extra_json_schema or {}
    text = str(schema.get("description", "")).replace("%", "%%").replace("`", "")
    flag = "--" + field.name.replace("_", "-")
    if isinstance(info.type, msgspec.inspect.BoolType):
        made.add_argument(flag, action="store_true", help=text)
        return
    made.add_argument(
        flag,
        default=field.default,
        type=int if isinstance(info.type, msgspec.inspect.IntType) else str,
        metavar=field.name.split("_")[-1].upper(),
        help=f"{text} (default: %(default)s)",
    )


def settings_of(arguments: argparse.Namespace) -> RuntimeSettings:
    """Return the settings that the flags say.

    Raises:
        SettingsError: A value is out of range.
    """
    names = [field.name for field in msgspec.structs.fields(RuntimeSettings)]
    given = {
        field.encode_name: getattr(arguments, name)
        for name, field in zip(names, msgspec.structs.fields(RuntimeSettings), strict=True)
    }
    try:
        return msgspec.convert(given, type=RuntimeSettings)
    except msgspec.ValidationError as err:
        raise SettingsError(f"A flag has a wrong value: {err}") from err


def listen_of(arguments: argparse.Namespace) -> process.Listen | None:
    """Return where the flags want the runtime to listen; makes the token file when it is missing.

    Raises:
        AddressError: The address or the token cannot be used.
    """
    if arguments.listen is None:
        return None
    where = address.parse_address(arguments.listen)
    address.check_private(
        where, allowed=arguments.allow_unencrypted, allow="the flag --allow-unencrypted"
    )
    return process.Listen(where, address.token_for_listening(arguments.token_file))


def release() -> str:
    """Return the version of the distribution."""
    return metadata.version("dgemma")


def probe(settings: RuntimeSettings) -> dict[str, object]:
    """Return what this environment can run: versions, device, model files."""
    found: dict[str, object] = {
        "release": release(),
        "protocol": PROTOCOL_VERSION,
        "python": platform.python_version(),
        "executable": sys.executable,
        "model": settings.model,
    }
    for name in ("torch", "transformers", "tokenizers", "safetensors"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if is_remote(settings.model):
        return found | probe_remote(settings)
    if found["torch"] is not None:
        from dgemma_runtime.engine.device import choose

        try:
            device = choose(settings)
            found |= {"device": device.name, "reason": device.reason, "dtype": device.dtype}
        except DgemmaError as err:
            found["device_error"] = str(err)
    try:
        found["files"] = make_engine(settings).files()
    except DgemmaError as err:
        found["files_error"] = str(err)
    with contextlib.suppress(DgemmaError):  # told above
        memory = planned_by_name(settings.model, settings)
        found["memory"] = {"words": memory.words, "fits": memory.fits}
    return found


def probe_remote(settings: RuntimeSettings) -> dict[str, object]:
    """Return what is known of a model on a server without asking it."""
    found: dict[str, object] = {"elsewhere": f"{settings.model}: source text is sent there"}
    try:
        return found | {"files": make_engine(settings).files()}
    except DgemmaError as err:
        return found | {"files_error": str(err)}


def show_progress(progress: LoadProgress) -> None:
    """Print one line of a fetch, over the last one on a terminal."""
    share = "" if progress.share is None else f" {progress.share:4.0%}"
    end = "\r" if sys.stderr.isatty() and progress.share != 1 else "\n"
    if end == "\r" or progress.share in (None, 1.0):
        print(f"{progress.message}{share}", end=end, file=sys.stderr, flush=True)


def set_up_logging(level: str, model: str, *, foreground: bool) -> None:
    """Log to a file of the user's, or to the terminal."""
    handler: logging.Handler = logging.StreamHandler()
    if not foreground:
        folder = platformdirs.user_log_path("dgemma", appauthor=False, ensure_exists=True)
        path = folder / f"runtime-{endpoint.model_key(model)}.log"
        try:
            path.touch(mode=0o600)
            handler = logging.handlers.RotatingFileHandler(path, maxBytes=2**20, backupCount=1)
        except OSError as err:
            print(f"No log file: {path}: {err.strerror}", file=sys.stderr)
    logging.basicConfig(
        level=level.upper(),
        handlers=[handler],
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = parser().parse_args(argv)
    try:
        settings = settings_of(arguments)
        if arguments.command == "models":
            return command.run(arguments, settings)
        if arguments.probe:
            print(json.dumps(probe(settings), indent=2))
            return 0
        if not is_remote(settings.model) and importlib.util.find_spec("torch") is None:
            print(
                f"dgemma-runtime needs torch, which {sys.executable} does not have. "
                f"Install it with: {INSTALL}",
                file=sys.stderr,
            )
            return 1
        engine = make_engine(settings)
        if arguments.fetch:
            engine.fetch(show_progress)
            return 0
        listen = listen_of(arguments)
        set_up_logging(arguments.log_level, settings.model, foreground=arguments.foreground)
        directory = endpoint.runtime_directory()
        process.serve(engine, settings, directory, release(), arguments.transport, listen)
    except process.AlreadyRunning:
        print(f"A runtime for {arguments.model} is already running.", file=sys.stderr)
        if arguments.listen is not None:
            print("End it with `dgemma stop` to start one that listens there.", file=sys.stderr)
        return endpoint.EXIT_ALREADY_RUNNING
    except DgemmaError as err:
        print(f"dgemma-runtime: {err}", file=sys.stderr)
        return 1
    return 0

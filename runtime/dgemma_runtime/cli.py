"""The command ``dgemma-runtime``: flags to settings, logging, then ``process.serve``.

Every setting of ``RuntimeSettings`` is a flag; none is declared twice.
"""

from __future__ import annotations

import argparse
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
from dgemma_runtime.engine import make_engine
from dgemma_runtime.engine.base import LoadProgress
from dgemma_wire import PROTOCOL_VERSION, endpoint
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
    return found


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
        if arguments.probe:
            print(json.dumps(probe(settings), indent=2))
            return 0
        if importlib.util.find_spec("torch") is None:
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
        set_up_logging(arguments.log_level, settings.model, foreground=arguments.foreground)
        directory = endpoint.runtime_directory()
        process.serve(engine, settings, directory, release(), arguments.transport)
    except process.AlreadyRunning:
        print(f"A runtime for {arguments.model} is already running.", file=sys.stderr)
        return endpoint.EXIT_ALREADY_RUNNING
    except DgemmaError as err:
        print(f"dgemma-runtime: {err}", file=sys.stderr)
        return 1
    return 0

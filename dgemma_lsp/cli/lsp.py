"""``dgemma-lsp``: the language server over stdio, as editors start it.

stdout belongs to the protocol; the log goes to a file of the user's.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import sys
from importlib import metadata

import platformdirs

LOG_VARIABLE = "DGEMMA_LOG"
LEVELS = ("debug", "info", "warning", "error")


def release() -> str:
    """Return the version of the distribution."""
    return metadata.version("dgemma")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that ``dgemma lsp`` and ``dgemma-lsp`` share."""
    parser.add_argument(
        "--stdio", action="store_true", help="Speak over stdin and stdout; always so, accepted."
    )
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default=os.environ.get(LOG_VARIABLE, "info").lower(),
        help="What the log file keeps; source text appears at debug alone (default: %(default)s).",
    )
    parser.add_argument("--log-file", help="Log to this file instead of the user's log folder.")


def set_up_logging(level: str, path: str | None) -> None:
    """Log to a file readable by the user alone; without one, to stderr."""
    handler: logging.Handler
    try:
        if path is None:
            folder = platformdirs.user_log_path("dgemma", appauthor=False, ensure_exists=True)
            path = str(folder / "lsp.log")
        os.close(os.open(path, os.O_CREAT | os.O_APPEND, 0o600))
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=2**20, backupCount=1)
    except OSError as err:
        print(f"No log file: {path}: {err.strerror or err}", file=sys.stderr)
        handler = logging.StreamHandler()
    logging.basicConfig(
        level=level.upper(),
        handlers=[handler],
        format="%(asctime)s %(process)d %(levelname)-7s %(name)s: %(message)s",
    )
    if level != "debug":
        # pygls logs whole messages, and with them source text, at INFO and in tracebacks.
        logging.getLogger("pygls").setLevel(logging.CRITICAL)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the editor hangs up."""
    set_up_logging(arguments.log_level, arguments.log_file)
    from dgemma_lsp.server import create_server  # half a second of imports: after --help

    create_server(release()).start_io()
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run ``dgemma-lsp``; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="dgemma-lsp",
        description="The dgemma language server, over stdio. Editors start it; for anything by "
        "hand see `dgemma --help`.",
    )
    parser.add_argument("--version", action="version", version=release())
    add_arguments(parser)
    return run(parser.parse_args(argv))

"""The command ``dgemma``: one entry point, one subcommand per thing a person does by hand."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Callable

from dgemma_lsp.cli import lsp
from dgemma_wire.errors import DgemmaError

Run = Callable[[argparse.Namespace], int]

TRAINING = {
    "train": "fine-tune the small model on your own code (--on PATH), or make a new one",
    "eval": "measure a model's fills on rows of source code",
}
"""Commands of ``dgemma_training``, which needs torch and so a process of its own."""

MODELS = "models"
"""The command of ``dgemma-runtime`` that owns the models' files."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    from dgemma_lsp.cli import (  # their imports cost; --version needs none
        doctor,
        fill,
        holes,
        mend,
        rewrite,
        stats,
    )

    made = argparse.ArgumentParser(
        prog="dgemma",
        description="Fill holes in source code with a local text-diffusion model. Editors use "
        "`dgemma lsp`; the other commands are for terminals.",
        epilog="Exit status: 0 done, 1 nothing to show or something is wrong, 2 wrong usage.",
    )
    made.add_argument("--version", action="version", version=f"dgemma {lsp.release()}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)

    one = commands.add_parser(
        "fill",
        help="fill one hole and show the text",
        description="Fill the hole at a place of a file. Prints the text to insert, unless a "
        "flag asks for another form. Nothing is written without --write.",
    )
    fill.add_arguments(one)
    one.set_defaults(run=fill.run)

    one = commands.add_parser(
        "holes",
        help="fill the marked holes of a file together",
        description="Fill every ___ of a file, and every TODO: comment whose body is missing or a "
        "placeholder, consistently with each other. Prints the texts, unless a flag asks for "
        "another form. Nothing is written without --write.",
    )
    holes.add_arguments(one)
    one.set_defaults(run=holes.run)

    one = commands.add_parser(
        "rewrite",
        help="rewrite some lines by an instruction",
        description="Rewrite lines of a file by an instruction the model knows. Prints the new "
        "lines, unless a flag asks for another form. Nothing is written without --write.",
    )
    rewrite.add_arguments(one)
    one.set_defaults(run=rewrite.run)

    one = commands.add_parser(
        "mend",
        help="mend syntax errors",
        description="Mend the syntax errors of a file, or the one at a place: a missing or stray "
        "delimiter without a model, anything else by denoising the smallest broken region anew, "
        "with all around it kept. Prints a unified diff, and on stderr what could not be mended. "
        "Nothing is written without --write.",
    )
    mend.add_arguments(one)
    one.set_defaults(run=mend.run)

    one = commands.add_parser(
        "lsp",
        help="run the language server over stdio",
        description="Run the language server over stdio, as dgemma-lsp does for editors.",
    )
    lsp.add_arguments(one)
    one.set_defaults(run=lsp.run)

    one = commands.add_parser(
        "serve",
        help="run the model process in the foreground",
        description="Run dgemma-runtime in the foreground; flags after -- are its own, see "
        "dgemma-runtime --help.",
    )
    one.add_argument("flags", nargs="*", metavar="-- FLAGS", help="Flags of dgemma-runtime.")
    one.set_defaults(run=serve)

    one = commands.add_parser(
        "stop",
        help="end the model process and free its memory",
        description="End the running model process; the next request starts another.",
    )
    fill.add_runtime_options(one)
    one.set_defaults(run=stop)

    one = commands.add_parser(
        "stats",
        help="show what came of completions, counted on this machine",
        description="Show how many completions were shown, accepted and kept, and how long they "
        "took. Counted on this machine alone; `dgemma.statistics` turns it off.",
    )
    stats.add_arguments(one)
    one.set_defaults(run=stats.run)

    one = commands.add_parser(
        "doctor",
        help="say what is installed, where the model runs and why",
        description="Check the installation: versions, grammars, device, model files, runtime.",
    )
    doctor.add_arguments(one)
    one.set_defaults(run=doctor.run)

    commands.add_parser(
        MODELS, help="list, pull, verify and remove models; plan their memory", add_help=False
    )
    for name, text in TRAINING.items():  # their flags are their own: see ``main``
        commands.add_parser(name, help=text, add_help=False)
    return made


def serve(arguments: argparse.Namespace) -> int:
    """Run the runtime in the foreground."""
    from dgemma_lsp.runtime_client.process import find_command

    try:
        return subprocess.call([*find_command(()), "--foreground", *arguments.flags])
    except KeyboardInterrupt:
        return 0


def train(flags: list[str]) -> int:
    """Run a command of ``dgemma_training``."""
    if importlib.util.find_spec("torch") is None:
        print(
            "dgemma: training and measuring need torch. Install it with "
            "`pip install 'dgemma[train]'`.",
            file=sys.stderr,
        )
        return 1
    return _wait([sys.executable, "-m", "dgemma_training", *flags])


def models(flags: list[str]) -> int:
    """Run the runtime's own command for models."""
    from dgemma_lsp.runtime_client.process import find_command

    try:
        return _wait([*find_command(()), MODELS, *flags])
    except DgemmaError as err:
        print(f"dgemma: {err}", file=sys.stderr)
        return 1


def _wait(command: list[str]) -> int:
    """Run a command to its end; returns its exit status."""
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # it has had the same Ctrl-C, and saves what there is


def stop(arguments: argparse.Namespace) -> int:
    """End the running runtime."""
    from dgemma_lsp.cli.fill import settings_of
    from dgemma_lsp.runtime_client.client import RuntimeClient
    from dgemma_lsp.runtime_client.remote import remote_of
    from dgemma_lsp.settings import load
    from dgemma_wire import endpoint

    async def ended() -> bool:
        settings = load(settings_of(arguments))
        remote = remote_of(settings)
        directory = None if remote else endpoint.runtime_directory()
        return await RuntimeClient(
            settings.runtime, (), directory, lsp.release(), "dgemma stop", remote=remote
        ).stop_runtime()

    print("The runtime has ended." if asyncio.run(ended()) else "No runtime was running.")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    if given and given[0] in TRAINING:
        return train(given)
    if given and given[0] == MODELS:
        return models(given[1:])
    arguments = parser().parse_args(given)
    run: Run = arguments.run
    try:
        return run(arguments)
    except DgemmaError as err:
        print(f"dgemma: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

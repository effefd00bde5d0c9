"""The commands ``dgemma train`` and ``dgemma eval``: flags to settings, progress, exit status.

Knows nothing of how anything is done. Everything that costs is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dgemma_training.progress import Progress
from dgemma_wire.adapters import WEIGHTS_FILE
from dgemma_wire.errors import DgemmaError

if TYPE_CHECKING:
    from types import FrameType


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="dgemma", description="Make and measure small models.")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    train = commands.add_parser(
        "train",
        help="train canvas adapters: for everyone, or on your own code",
        description="With --on, fine-tune the small model on the code of one folder; the language "
        "server then uses the result in that workspace. The other commands make the adapter "
        "that ships: collect source code, train, draw the curves, export.",
    )
    _add_on(train)
    steps = train.add_subparsers(dest="step", metavar="STEP")
    _add_collect(steps)
    _add_run(steps)
    _add_curves(steps)
    _add_export(steps)
    train.set_defaults(run=_no_step)

    from dgemma_training.evaluation import command as evaluation

    measure = commands.add_parser(
        "eval",
        help="measure a model's fills on rows of source code",
        description="Measure exact match, similarity, parse and pass rates, steps and time, "
        "against the untouched base model and against decoding one token at a time.",
    )
    evaluation.add_arguments(measure)
    measure.set_defaults(run=evaluation.run)
    return made


def _add_on(train: argparse.ArgumentParser) -> None:
    train.add_argument("--on", type=Path, metavar="PATH", help="Fine-tune on this folder's code.")
    train.add_argument(
        "--minutes", type=float, default=10.0, help="How long to train with --on (default: 10)."
    )
    train.add_argument(
        "--keep",
        choices=["better", "always", "never"],
        default="better",
        help="Whether the server is to use the result: if it fills held-out spans of the folder "
        "at least as well (default), always, or never.",
    )
    train.add_argument("--rows", type=int, default=60, help="Held-out spans to compare on.")
    train.add_argument("--remove", action="store_true", help="With --on: delete its adapter.")
    train.add_argument("--seed", type=int, default=0, help="Decides every draw.")
    train.add_argument("--threads", type=int, help="CPU threads (default: all cores).")


def _add_collect(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = steps.add_parser(
        "collect",
        help="fetch permissively licensed source from PyPI and npm",
        description="Fetch the pinned packages with pip and npm, keep what the licence filter "
        "accepts, clean it, and leave out whatever overlaps with evaluation rows.",
    )
    one.add_argument("folder", type=Path, help="Where the corpus goes.")
    one.add_argument("--languages", nargs="+", metavar="ID", help="Only these languages.")
    one.add_argument(
        "--exclude",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="Evaluation rows (JSON lines) of which nothing may be trained on.",
    )
    one.add_argument("--jobs", type=int, default=4, help="Fetches at a time (default: 4).")
    one.add_argument("--limit", type=int, help="Packages of each split at most, for a trial.")
    one.set_defaults(run=_collect)


def _add_run(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from dgemma_training.recipe import PROFILES
    from dgemma_training.trainer import RunSettings

    usual = RunSettings()
    one = steps.add_parser(
        "run",
        help="train an adapter on a corpus; goes on where it stopped",
        description="Train a canvas adapter on a corpus. A run is a folder; the same command "
        "again goes on where it stopped, also after Ctrl-C.",
    )
    one.add_argument("folder", type=Path, metavar="RUN", help="The run's folder.")
    one.add_argument("--corpus", type=Path, required=True, help="What `collect` made.")
    one.add_argument("--model", default="embedded", help="Whose base to train on.")
    one.add_argument(
        "--start", default="none", help="`none`, `shipped`, or an adapter file to begin with."
    )
    one.add_argument("--profile", choices=sorted(PROFILES), default="cpu", help="Batch sizes.")
    one.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto).")
    one.add_argument("--dtype", default="auto", help="auto, bfloat16 or float32.")
    one.add_argument("--threads", type=int, help="CPU threads (default: all cores).")
    one.add_argument("--minutes", type=float, default=usual.minutes, help="Minutes at most.")
    one.add_argument("--steps", type=int, default=usual.steps, help="Optimizer steps at most.")
    one.add_argument("--rank", type=int, default=usual.rank, help="Of the low-rank factors.")
    one.add_argument("--rate", type=float, default=usual.learning_rate, help="Learning rate.")
    one.add_argument(
        "--second",
        type=float,
        default=usual.second_share,
        help="Share of canvases with a second pass, which learns from its own draft (default: 1).",
    )
    one.add_argument("--distill", type=float, default=usual.distill, help="See RunSettings.")
    one.add_argument("--seed", type=int, default=usual.seed, help="Decides every draw.")
    one.add_argument("--long", type=float, default=0.08, help="Share of long-span batches.")
    one.add_argument("--rewrites", type=float, default=0.10, help="Share of rewrite batches.")
    one.add_argument("--kinds", nargs="+", metavar="KIND", help="Only these kinds of rewrite.")
    one.add_argument("--languages", nargs="+", metavar="ID", help="Only these languages.")
    one.add_argument(
        "--validations", type=int, default=6, help="Batches of each validation (default: 6)."
    )
    one.set_defaults(run=_run)


def _add_curves(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = steps.add_parser("curves", help="draw a run's losses and accuracy as an SVG")
    one.add_argument("folder", type=Path, metavar="RUN", help="The run's folder.")
    one.add_argument("--out", type=Path, help="The picture (default: curves.svg in the run).")
    one.add_argument("--title", default="Training", help="For readers who hear the picture.")
    one.set_defaults(run=_curves)


def _add_export(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = steps.add_parser("export", help="make a model folder that the runtime loads")
    one.add_argument("folder", type=Path, metavar="RUN", help="The run's folder.")
    one.add_argument("to", type=Path, help="The model folder to make.")
    one.add_argument("--model", default="embedded", help="Whose model.json and tokenizer to take.")
    one.add_argument("--name", help="The model's name.")
    one.add_argument(
        "--numbers", choices=["int8", "bfloat16"], default="int8", help="How factors are stored."
    )
    one.add_argument(
        "--offers", type=Path, metavar="FILE", help="results.json of an evaluation with --rewrites."
    )
    one.add_argument(
        "--least", type=float, default=0.5, help="Success a rewrite needs to be offered (0.5)."
    )
    one.set_defaults(run=_export)


def _no_step(arguments: argparse.Namespace) -> int:
    if arguments.on is None:
        print("dgemma train: give --on PATH, or a STEP; see dgemma train --help.", file=sys.stderr)
        return 2
    from dgemma_training import workspace

    progress = Progress()
    if arguments.remove:
        print(workspace.remove(arguments.on))
        return 0
    settings = workspace.TuneSettings(
        minutes=arguments.minutes,
        rows=arguments.rows,
        keep=arguments.keep,
        seed=arguments.seed,
        threads=arguments.threads,
    )
    report = workspace.tune(arguments.on, settings, progress)
    progress.end()
    print(report)
    return 0


def _collect(arguments: argparse.Namespace) -> int:
    from dgemma_training.collect import collect

    progress = Progress()
    summary = collect(
        arguments.folder,
        languages=arguments.languages,
        exclude=arguments.exclude,
        jobs=arguments.jobs,
        limit=arguments.limit,
        report=progress,
    )
    progress.end()
    for split, counts in summary.files.items():
        size = sum(summary.bytes[split].values()) / 1e6
        print(f"{split}: {sum(counts.values())} files, {size:.0f} MB")
    print(f"{sum(summary.accepted.values())} packages accepted, {len(summary.refused)} refused for")
    print(f"their licence, {len(summary.failed)} failed; see packages.json beside the corpus.")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from dgemma_training import session
    from dgemma_training.trainer import RunSettings

    progress = Progress()
    settings = RunSettings(
        rank=arguments.rank,
        learning_rate=arguments.rate,
        distill=arguments.distill,
        second_share=arguments.second,
        seed=arguments.seed,
        steps=arguments.steps,
        minutes=arguments.minutes,
    )
    state = session.run(
        arguments.folder,
        session.Session(
            corpus=arguments.corpus,
            model=arguments.model,
            start=arguments.start,
            profile=arguments.profile,
            device=arguments.device,
            dtype=arguments.dtype,
            threads=arguments.threads,
            long=arguments.long,
            rewrites=arguments.rewrites,
            languages=arguments.languages,
            rewrite_kinds=arguments.kinds,
            validations=arguments.validations,
        ),
        settings,
        progress,
    )
    progress.end()
    print(
        f"{state.step} steps, {state.canvases} canvases, {state.seconds / 60:.0f} minutes: "
        f"{arguments.folder / WEIGHTS_FILE}"
    )
    return 0


def _curves(arguments: argparse.Namespace) -> int:
    from dgemma_training.curves import draw, read_log

    out = arguments.out or arguments.folder / "curves.svg"
    out.write_text(draw(read_log(arguments.folder / "log.jsonl"), arguments.title), "utf-8")
    print(out)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from dgemma_training.session import export, offers_of

    offers = None if arguments.offers is None else offers_of(arguments.offers, arguments.least)
    made = export(
        arguments.folder, arguments.to, arguments.model, arguments.name, arguments.numbers, offers
    )
    print(made)
    return 0


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, and a SIGINT that a shell switched off, end a run as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    arguments = parser().parse_args(argv)
    try:
        with _interruptible():
            return arguments.run(arguments)
    except DgemmaError as error:
        print(f"dgemma: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndgemma: stopped; the same command goes on from here.", file=sys.stderr)
        return 130

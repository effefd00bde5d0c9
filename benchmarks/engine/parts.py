"""The parts of a run by name, and doing one after another so that one that fails is only itself.

A part is a generator of its result so far: what it had measured when it was ended is kept. Knows
nothing of processes; what happens is told to whoever asked for it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.engine.autoregressive import autoregressive
from benchmarks.engine.bench import Bench, Result
from benchmarks.engine.fills import embedded, infill
from benchmarks.engine.floor import bandwidth, routing
from benchmarks.engine.prefixes import prefixes
from benchmarks.engine.sizes import Size
from benchmarks.engine.steps import against_generate, compiled, together

Event = dict[str, Any]
Tell = Callable[[Event], None]


class DeviceLost(Exception):
    """The device answers nothing any more in this process."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a run.

    Attributes:
        run: Measures, and yields its result so far.
        seconds: Its share of the time; past it, it is ended at its next result.
        compiles: It is measured only where compiling was asked for.
    """

    run: Callable[[Bench], Iterator[Result]]
    seconds: float
    compiles: bool = False


def parts_of(size: Size) -> dict[str, Part]:
    """Return the parts of a run in their order: what matters most first, what compiles last."""
    plain = size.plain
    parts = {"bandwidth": Part(bandwidth, 30)}
    for form in size.forms:
        parts[f"steps {form}"] = Part(partial(against_generate, form=form), 150)
        parts[f"together {form}"] = Part(partial(together, form=form), 90)
        if form is plain:
            parts["routing"] = Part(partial(routing, form=form), 60)
        parts[f"infill {form}"] = Part(partial(infill, form=form), 60)
        parts[f"prefixes {form}"] = Part(partial(prefixes, form=form), 90)
    parts["autoregressive"] = Part(partial(autoregressive, static=False), 90)
    parts["embedded"] = Part(embedded, 120)
    parts["autoregressive, static cache"] = Part(partial(autoregressive, static=True), 180)
    parts["generate(), compiled"] = Part(partial(compiled, form=plain), 300, compiles=True)
    return parts


def work(
    names: Sequence[str],
    bench: Bench,
    tell: Tell,
    *,
    of: Mapping[str, Part] | None = None,
    patience: float = 1.0,
) -> None:
    """Do parts one after another and tell when each begins, what it has, and how it ends.

    Args:
        names: Of the parts.
        bench: The run.
        tell: Is told ``begin``, ``result``, and one of ``done``, ``cut``, ``skipped``, ``failed``.
        of: The parts there are.
        patience: What every part's time is multiplied by.

    Raises:
        DeviceLost: A failure left the device unusable here; the failure itself has been told.
    """
    parts = parts_of(bench.size) if of is None else of
    for name in names:
        part = parts[name]
        began = time.monotonic()
        if part.compiles and not bench.compile:
            why = "paths that compile are measured on GPUs, or with --compile"
            tell({"event": "skipped", "part": name, "why": why})
            continue
        tell({"event": "begin", "part": name})
        end: Event = {"event": "done"}
        failed: BaseException | None = None
        try:
            for result in part.run(bench):
                tell({"event": "result", "part": name, "result": result})
                if time.monotonic() - began > part.seconds * patience:
                    end = {"event": "cut", "why": f"its {part.seconds * patience:.0f} s were over"}
                    break
        except Exception as error:
            end = {"event": "failed", "error": _words(error)}
            failed = error.with_traceback(None)  # it holds the tensors of what failed
        tell({**end, "part": name, "seconds": round(time.monotonic() - began, 1)})
        if failed is not None:
            if _lost(failed):
                raise DeviceLost(str(failed))
            del failed
            bench.drop()


def _words(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    return f"{type(error).__name__}: {str(error)[:2000]}\n" + "".join(lines)[-3000:]


def _lost(error: BaseException) -> bool:
    """Say whether nothing more can be done on the device in this process."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    kind = getattr(torch, "AcceleratorError", ())
    return isinstance(error, kind) or "CUDA error" in str(error)

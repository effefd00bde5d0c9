"""The files an evaluation leaves: figures as JSON, a table to read, a picture, and the fills.

Writes text. Measures nothing and rounds nothing but what is shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from dgemma_training.evaluation.figures import FITTING, Figures, SystemFigures
from dgemma_training.evaluation.intervals import Interval, Spread
from dgemma_training.evaluation.plot import draw
from dgemma_training.evaluation.results import Fill, Results, SetResult

_NOTES = """\
Rates are shares of rows in %, in brackets the 95 % interval of a bootstrap over files.

* *Exact*: the text is what stood there, blanks at both ends apart. *Similar*: 1 minus Levenshtein's
  distance over the longer text's length.
* *Parses*: the file parses with the text, by Python's own parser, otherwise by tree-sitter without
  an error. Where a row's cut-out context does not parse by itself, no error may be added.
* *Passes*: the row's test succeeds in a process of its own. *Shown*: the language server would
  show the text.
* *Forwards*: passes after the prefix, which are denoise steps, or tokens of the base. *Tokens*
  include the end of the text.
* `_raw` is the runtime's text before the language server's rules. `base` is the untouched base
  completing the prefix greedily, stopped at the line's end where one line is missing; `base_cut`
  cuts its text where the rest of the line first appears; `base_trimmed` applies the language
  server's rules to it.
"""


def write(folder: Path, results: Results, fills: Sequence[Fill] | None) -> None:
    """Write ``results.json``, ``table.md``, ``plot.svg`` and, when given, ``fills.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = msgspec.json.format(msgspec.json.encode(results), indent=1)
    _replace(folder / "results.json", plain + b"\n")
    _replace(folder / "table.md", table(results).encode())
    _replace(folder / "plot.svg", draw(results.sets).encode())
    if fills is not None:
        _replace(
            folder / "fills.jsonl", b"".join(msgspec.json.encode(fill) + b"\n" for fill in fills)
        )


def table(results: Results) -> str:
    """Return everything as Markdown."""
    machine = results.machine
    load = "" if machine.load is None else f", load {machine.load:.1f}"
    lines = ["# Evaluation", ""]
    if results.interrupted:
        lines += ["**Interrupted: later rows and systems are missing.**", ""]
    if results.resumed:
        lines += ["Stopped and gone on with later: times are of more than one session.", ""]
    lines += [
        f"{results.date}, dgemma {results.release}, Python {machine.python}, "
        + ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
        + f". {machine.cpu}, {machine.cores} cores{load}.",
        "",
        *_rows(
            ("system", "model", "adapter (SHA-256)", "device", "sampler"),
            (
                (
                    info.name,
                    info.model,
                    info.adapter_sha256[:16],
                    f"{info.device} {info.dtype}",
                    ", ".join(
                        f"{name} {info.sampler[name]}"
                        for name in ("acceptance", "run_confidence")
                        if name in info.sampler
                    ),
                )
                for info in results.systems
            ),
        ),
    ]
    for each in results.sets:
        lines += _set(each)
    lines += _probes(results) + _rewrites(results) + ["## What the figures are", "", _NOTES]
    return "\n".join(lines)


def summary(results: Results) -> str:
    """Return the main figures for a terminal."""
    lines: list[str] = []
    for each in results.sets:
        lines.append(f"{each.name}: {each.source}, {each.fitting} of {each.rows} fit")
        for group in _groups(each):
            lines.append(f"  {group}")
            lines += _summed({name: s.groups.get(group) for name, s in each.systems.items()})
        for kind in _kinds(each):
            rows = {name: system.kinds.get(kind) for name, system in each.systems.items()}
            count = max(found.rows for found in rows.values() if found is not None)
            lines += [f"  {kind}, {count} that fit", *_summed(rows)]
    for probe in results.probes:
        lines.append(f"probes: {probe.system:24} {probe.solved} of {probe.asked}")
    return "\n".join(lines)


def _summed(systems: Mapping[str, Figures | None]) -> list[str]:
    return [
        f"    {name:24} exact {_rate(found.exact):>18}  parses {_rate(found.parses):>18}"
        + ("" if found.passed is None else f"  passes {_rate(found.passed):>18}")
        + f"  forwards {_mean(found.forwards)}"
        for name, found in systems.items()
        if found is not None
    ]


def _kinds(each: SetResult) -> list[str]:
    return sorted({kind for system in each.systems.values() for kind in system.kinds})


def _set(each: SetResult) -> list[str]:
    lines = [
        f"## {each.name}",
        "",
        f"{each.source} (SHA-256 {each.sha256[:16]}); what is missing fits into the model's "
        f"span in {each.fitting} of {each.rows}.",
        "",
    ]
    for group in _groups(each):
        lines += [f"### {group[0].upper()}{group[1:]}", ""]
        figures = {
            name: system.groups[group]
            for name, system in each.systems.items()
            if group in system.groups
        }
        lines += _quality(figures) + _speed(figures)
    parts: tuple[tuple[str, Mapping[str, Mapping[str, Figures]]], ...] = (
        ("kind", {name: system.kinds for name, system in each.systems.items()}),
        ("length", {name: system.lengths for name, system in each.systems.items()}),
        ("language", {name: system.languages for name, system in each.systems.items()}),
        (
            "whether the file parses with nothing in the hole",
            {name: system.empty_parses for name, system in each.systems.items()},
        ),
    )
    for title, systems in parts:
        lines += _by_part(title, systems)
    return lines + _packages(each.systems) + _differences(each)


def _groups(each: SetResult) -> list[str]:
    return list(dict.fromkeys(name for system in each.systems.values() for name in system.groups))


def _quality(figures: Mapping[str, Figures]) -> list[str]:
    heads = ("system", "rows", "exact", "similar", "parses", "passes", "shown", "not empty")
    return _rows(
        heads,
        (
            (
                name,
                str(found.rows),
                *(
                    _rate(value)
                    for value in (
                        found.exact,
                        found.similarity,
                        found.parses,
                        found.passed,
                        found.shown,
                        found.answered,
                    )
                ),
            )
            for name, found in figures.items()
        ),
    )


def _speed(figures: Mapping[str, Figures]) -> list[str]:
    heads = (
        "system",
        "forwards",
        "tokens",
        "tokens a forward",
        "forwards ms p50 / p95",
        "prefix ms p50 / p95",
        "total ms p50 / p95",
        "no text",
    )
    return _rows(
        heads,
        (
            (
                name,
                _mean(found.forwards),
                _mean(found.tokens),
                _mean(found.tokens_per_forward, 2),
                _spread(found.steps_ms),
                _spread(found.prefill_ms),
                _spread(found.total_ms),
                ", ".join(f"{why} {count}" for why, count in found.problems.items()),
            )
            for name, found in figures.items()
        ),
    )


def _by_part(title: str, systems: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    parts = list(dict.fromkeys(part for found in systems.values() for part in found))
    if not parts:
        return []
    counts = {
        part: max(found[part].rows for found in systems.values() if part in found) for part in parts
    }
    lines = [f"### By {title}", ""]
    for rate, label in (("exact", "Exact"), ("parses", "Parses"), ("passed", "Passes")):
        cells = {
            name: [_rate(getattr(found.get(part), rate, None)) for part in parts]
            for name, found in systems.items()
        }
        if all(cell == "" for row in cells.values() for cell in row):
            continue
        heads = (label, *(f"{part} ({counts[part]})" for part in parts))
        lines += _rows(heads, ((name, *row) for name, row in cells.items()))
    return lines


def _packages(systems: Mapping[str, SystemFigures]) -> list[str]:
    rows = [
        (name, str(found.exact.clusters), _rate(found.exact), _rate(found.parses))
        for name, system in systems.items()
        if (found := system.by_package) is not None and found.exact is not None
    ]
    if not rows:
        return []
    lines = [f"### {FITTING[0].upper()}{FITTING[1:]}, intervals over packages", ""]
    return lines + _rows(("system", "packages", "exact", "parses"), rows)


def _differences(each: SetResult) -> list[str]:
    if not each.differences:
        return []
    lines = ["### Differences on the same rows, in points", ""]
    return lines + _rows(
        ("rows", "rate", "systems", "difference", "over packages"),
        (
            (
                found.rows,
                found.rate,
                f"{found.first} minus {found.second}",
                _rate(found.by_file, signed=True),
                _rate(found.by_package, signed=True),
            )
            for found in each.differences
        ),
    )


def _probes(results: Results) -> list[str]:
    if not results.probes:
        return []
    lines = ["## Probes", ""]
    return lines + _rows(
        ("system", "solved", "missed"),
        (
            (found.system, f"{found.solved} of {found.asked}", "; ".join(found.missed))
            for found in results.probes
        ),
    )


def _rewrites(results: Results) -> list[str]:
    if not results.rewrites:
        return []
    lines = [
        "## Rewrites",
        "",
        "*Success*: right, and the language server shows it; intervals over packages.",
        "",
    ]
    return lines + _rows(
        ("system", "kind", "languages", "asked", "too long", "success", "right", "shown"),
        (
            (
                found.system,
                found.kind,
                ", ".join(found.languages),
                str(found.asked),
                str(found.declined),
                _rate(found.success),
                _rate(found.done),
                _rate(found.shown),
            )
            for found in results.rewrites
        ),
    )


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"

    return [line(heads), "|" + " --- |" * len(heads), *(line(row) for row in rows), ""]


def _rate(value: Interval | None, *, signed: bool = False) -> str:
    if value is None:
        return ""
    sign = "+" if signed else ""
    text = f"{100 * value.value:{sign}.1f}"
    if value.low is None or value.high is None:
        return text
    return f"{text} [{100 * value.low:{sign}.1f}, {100 * value.high:{sign}.1f}]"


def _mean(value: Interval | None, digits: int = 1) -> str:
    return "" if value is None else f"{value.value:.{digits}f}"


def _spread(value: Spread | None) -> str:
    return "" if value is None else f"{value.p50:.0f} / {value.p95:.0f}"


def _replace(path: Path, data: bytes) -> None:
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(data)
    os.replace(scratch, path)

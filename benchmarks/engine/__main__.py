"""The denoise loop's speed, in one call: ``python -m benchmarks.engine --size full --out FILE``.

Measures on whatever device torch finds: steps of this engine against those of ``generate()`` and
against the bandwidth floor, several canvases at once, prefixes, whole infills, the autoregressive
model of the same size, and the model that ships. Each part runs in a process of its own and is
written when it is done; one that fails is told as text and costs only itself. ``--resume`` takes
the parts that an earlier file has and measures the others.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for _home in (Path(__file__).resolve().parents[2], Path(__file__).resolve().parents[2] / "runtime"):
    if str(_home) not in sys.path:  # `python benchmarks/engine`, and machines without an install
        sys.path.insert(0, str(_home))

from dgemma_runtime.environment import prepare  # noqa: E402

prepare()  # before torch is imported, as the runtime does

import torch  # noqa: E402

from benchmarks.engine import plot, table  # noqa: E402
from benchmarks.engine.apart import run_apart  # noqa: E402
from benchmarks.engine.bench import Bench  # noqa: E402
from benchmarks.engine.parts import DeviceLost, Event, parts_of, work  # noqa: E402
from benchmarks.engine.record import Record  # noqa: E402
from benchmarks.engine.sizes import SIZES  # noqa: E402

_CPU_PATIENCE = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when no part failed."""
    asked = _parse(arguments)
    size = SIZES[asked.size]
    device = asked.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    compiling = asked.compile if asked.compile is not None else device != "cpu"
    patience = asked.patience or (_CPU_PATIENCE if device == "cpu" else 1.0)
    bench = Bench(size, torch.device(device), compiling)
    if asked.child:
        return _child(asked.part, bench, patience)
    if asked.draw is not None:
        record = json.loads(asked.draw.read_text(encoding="utf-8"))
        _show(record, asked.plot)
        return 0
    earlier = None
    if asked.resume is not None and asked.resume.exists():
        earlier = json.loads(asked.resume.read_text(encoding="utf-8"))
    record = Record(size, asked.out)
    record.start(device, earlier)
    parts = parts_of(size)
    names = [
        name
        for name in parts
        if name not in record.data["parts"] and re.search(asked.only, name) is not None
    ]

    def tell(event: Event) -> None:
        record.tell(event)
        if event["event"] != "result":
            told = str(event.get("error") or event.get("why") or "").splitlines()
            print(f"{event['part']}: {event['event']} {told[0] if told else ''}", flush=True)

    if asked.here:
        work(names, bench, tell, patience=patience)
    else:
        until = None if asked.minutes is None else time.monotonic() + 60 * asked.minutes
        limits = {name: 2 * part.seconds * patience + 60 for name, part in parts.items()}
        options = ["--size", size.name, "--device", device, "--patience", str(patience)]
        options.append("--compile" if compiling else "--no-compile")
        signal.signal(signal.SIGTERM, _leave)  # so that the child ends too
        run_apart(names, limits, options, tell, until=until)
    record.write()
    _show(record.data, asked.plot)
    return int(any(part["status"] == "failed" for part in record.data["parts"].values()))


def _child(names: Sequence[str], bench: Bench, patience: float) -> int:
    """Do parts and write what happens to stdout, a line each."""
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no word of ours

    def tell(event: Event) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    try:
        work(names, bench, tell, patience=patience)
    except DeviceLost as lost:
        print(f"the device was lost: {lost}", file=sys.stderr)
        return 3
    return 0


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _show(record: dict[str, Any], picture: Path | None) -> None:
    if picture is not None:
        picture.write_text(plot.draw(record), encoding="utf-8")
    print("\n".join(table.lines(record)))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=SIZES, default="small", help="How large (%(default)s).")
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    parser.add_argument("--resume", type=Path, help="Take the parts that this file has as done.")
    parser.add_argument("--plot", type=Path, help="Draw milliseconds a step here, as SVG.")
    parser.add_argument("--draw", type=Path, help="Measure nothing: show this file of results.")
    parser.add_argument("--only", default="", help="Parts whose name has this pattern.")
    parser.add_argument("--minutes", type=float, help="End by then; --resume does the rest.")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1.")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="Measure paths that compile (default: on GPUs).",
    )
    parser.add_argument("--patience", type=float, help="Times the time that a part may take.")
    parser.add_argument("--here", action="store_true", help="All parts in this process.")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--part", action="append", default=[], help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

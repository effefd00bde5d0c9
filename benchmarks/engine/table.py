"""A record as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.engine.sizes import SIZES
from benchmarks.engine.summary import result


def lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table."""
    size = SIZES[record["size"]]
    machine, versions = record["hardware"], record["versions"]
    yield f"{record['size']}: {machine.get('gpu') or machine['cpu']}, {machine['cores']} cores"
    yield ", ".join(f"{name} {number}" for name, number in versions.items())
    yield f"load {record['load_before']} before, {record.get('load_after')} after"
    rate = result(record, "bandwidth")
    if rate:
        peak = f", {rate['peak'] / 1e12:.2f} TB/s by the data sheet" if rate["peak"] else ""
        yield f"a copy moves {rate['copied'] / 1e12:.3f} TB/s{peak}"
    floors = record["summary"]["floors"]
    yield ""
    yield "ms per step, p50 (p95); x is how often the bandwidth floor fits into it"
    head = ("canvas", 7), ("ours", 18), ("x", 7), ("whole canvas", 15), ("generate()", 12)
    yield " " * 10 + "".join(f"{name:>{wide}}" for name, wide in (*head, ("fewer", 7)))
    for form in size.forms:
        found = result(record, f"steps {form}") or {"canvases": ()}
        for row in found["canvases"]:
            times = next(
                (
                    each.get("times_floor_copied_uniform")
                    for each in floors
                    if (each["form"], each["canvas"], each["together"])
                    == (str(form), row["canvas"], 1)
                ),
                None,
            )
            ours = f"{row['ours_ms']['p50']:.1f} ({row['ours_ms']['p95']:.1f})"
            yield (
                f"{form:10}{row['canvas']:>7}{ours:>18}{times or '':>7}"
                f"{row['ours_whole_ms']['p50']:>15.1f}{row['generate_ms']['p50']:>12.1f}"
                f"{row['times_fewer']:>7}"
            )
    for row in (result(record, "generate(), compiled") or {"canvases": ()})["canvases"]:
        ms = row["generate_ms"]["p50"]
        yield f"generate() compiled, canvas {row['canvas']}: {ms:.1f} ms a step"
    for form in size.forms:
        for row in (result(record, f"together {form}") or {"canvases": ()})["canvases"]:
            each = ", ".join(
                f"{one['together']}{' with prefixes of their own' if one['own_prefixes'] else ''}: "
                f"{one['ms']['p50']:.1f} ms ({one['share_of_as_many']:.2f})"
                for one in row["rows"]
            )
            yield f"{form}, canvas {row['canvas']}, so many at once: {each}"
    for form in size.forms:
        for row in (result(record, f"prefixes {form}") or {"prefixes": ()})["prefixes"]:
            yield (
                f"{form}, prefix of {row['tokens']}: {row['prefill_ms']['p50']:.1f} ms, one token "
                f"more {row['append_one_ms']['p50']:.1f} ms, memory {_gb(row['memory'])} GB"
            )
        if found := result(record, f"infill {form}"):
            ms = found["whole_ms"]
            yield (
                f"{form}, {found['tokens']} tokens in {found['steps']} steps: "
                f"{ms['p50']:.1f} ms (p95 {ms['p95']:.1f})"
            )
    for row in record["summary"]["tokens_a_second"]:
        if row.get("canvas", max(size.canvases)) == max(size.canvases):
            tokens = f" at {row['tokens_a_step']} a step" if "tokens_a_step" in row else ""
            yield f"{row['of']}{tokens}: {row['tokens_a_second']} tokens a second"
    if found := result(record, "embedded"):
        yield (
            f"{found['fills']} warm fills of {found['model']}: {found['total_ms']['p50']:.0f} ms, "
            f"{found['over_passes']['p50']:.3f} times their passes "
            f"(p95 {found['over_passes']['p95']:.3f})"
        )
    yield ""
    for name, part in record["parts"].items():
        if part["status"] != "done":
            why = str(part.get("why") or part.get("error") or "").splitlines()
            yield f"{part['status']}: {name}: {why[0] if why else ''}"
    for aim in record["summary"]["aims"]:
        yield f"{aim['verdict']}: {aim['aim']}: {aim['measured']}, wanted {aim['wanted']}"


def _gb(memory: Mapping[str, int]) -> str:
    return f"{(memory.get('peak') or memory.get('resident', 0)) / 1e9:.1f}"

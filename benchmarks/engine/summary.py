"""What the figures come to: steps over their floor, tokens a second, and the aims.

Reads a record and returns numbers; measures nothing. Where a part is missing, what needs it says
so instead of a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.engine.floor import step_bytes, uniform_experts
from benchmarks.engine.sizes import Size

Record = Mapping[str, Any]
Row = dict[str, Any]

TOKENS_A_STEP = (16, 8)
"""What is published of the real model: 16 tokens a forward pass (vLLM's benchmark of it), and half
of it for text that is hard. Random weights settle on nothing: what they accept means nothing."""
FEWER, INFILL_MS, FILL_MS, OVER_PASSES = 5.0, 100.0, 350.0, 1.15
TIMES_AUTOREGRESSIVE, TIMES_FLOOR, TOKENS_A_SECOND = 4.0, 2.0, 1000.0


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim; ``measured`` is ``None`` where it was not measured, and ``why`` says why not."""

    aim: str
    wanted: str
    measured: float | None
    reached: bool | None
    why: str = ""


def summarize(record: Record, size: Size) -> dict[str, Any]:
    """Return floors, tokens a second and aims."""
    floors = floor_rows(record, size)
    tokens = token_rows(record, size)
    return {
        "of_tokens_a_second": "tokens a step are published figures of the real model; what random "
        "weights accept means nothing and is not used",
        "floors": floors,
        "tokens_a_second": tokens,
        "aims": [_told(aim) for aim in aims(record, size, floors, tokens)],
    }


def result(record: Record, part: str) -> Any:
    """Return a part's result so far; ``None`` when it has none."""
    return record["parts"].get(part, {}).get("result")


def floor_rows(record: Record, size: Size) -> list[Row]:
    """Return the least time of every step that was measured, and how often that fits into it."""
    rate = result(record, "bandwidth") or {}
    touched = {
        (row["canvas"], row["together"]): row["measured"]
        for row in (result(record, "routing") or {}).get("rows", ())
    }
    rows: list[Row] = []
    for form in size.forms:
        for canvas, count, ms in _steps(record, str(form)):
            uniform = uniform_experts(size, canvas * count)
            measured = touched.get((canvas, count))
            row: Row = {"form": str(form), "canvas": canvas, "together": count, "step_ms": ms}
            for name, experts in (("uniform", uniform), ("measured", measured)):
                if experts is None:
                    continue
                sizes = step_bytes(size, form, experts, size.prefix)
                row[f"bytes_{name}"] = round(sizes["all"])
                for by in ("copied", "peak"):
                    if rate.get(by):
                        floor = 1000 * sizes["all"] / rate[by]
                        row[f"floor_{by}_{name}_ms"] = round(floor, 3)
                        row[f"times_floor_{by}_{name}"] = round(ms / floor, 2)
            rows.append(row)
    return rows


def _steps(record: Record, form: str) -> list[tuple[int, int, float]]:
    """Return canvas, canvases at once and p50 of every step of ours that was measured."""
    found = [
        (row["canvas"], 1, row["ours_ms"]["p50"])
        for row in (result(record, f"steps {form}") or {}).get("canvases", ())
    ]
    for row in (result(record, f"together {form}") or {}).get("canvases", ()):
        found += [
            (row["canvas"], each["together"], each["ms"]["p50"])
            for each in row["rows"]
            if each["together"] > 1 and not each["own_prefixes"]
        ]
    return found


def token_rows(record: Record, size: Size) -> list[Row]:
    """Return tokens a second: of the autoregressive model, and of ours at published rates."""
    rows: list[Row] = []
    for part in ("autoregressive", "autoregressive, static cache"):
        found = result(record, part)
        if found is not None and found["token_ms"]["p50"] > 0:  # differences of noise may be less
            rate = round(1000 / found["token_ms"]["p50"], 1)
            rows.append({"of": part, "compiled": found["compiled"], "tokens_a_second": rate})
    best = max((row["tokens_a_second"] for row in rows), default=None)
    for form in size.forms:
        for canvas, count, ms in _steps(record, str(form)):
            if count > 1:
                continue
            for tokens in TOKENS_A_STEP:
                rate = round(1000 * tokens / ms, 1)
                row: Row = {"of": f"ours, {form}", "canvas": canvas, "tokens_a_step": tokens}
                row["tokens_a_second"] = rate
                if best:
                    row["times_autoregressive"] = round(rate / best, 2)
                rows.append(row)
    return rows


def aims(record: Record, size: Size, floors: Sequence[Row], tokens: Sequence[Row]) -> list[Aim]:
    """Return all aims with what became of them."""
    on_gpu = str(record["hardware"]["device"]).startswith("cuda")
    widest = max(size.canvases)
    found: list[Aim] = []

    fewer = [
        row["times_fewer"]
        for row in (result(record, f"steps {size.plain}") or {}).get("canvases", ())
        if row["canvas"] == widest
    ]
    found.append(
        _least(
            f"a step of generate() over one of ours, a span of 32 in a canvas of {widest}, "
            f"{size.plain}",
            FEWER,
            max(fewer, default=None),
        )
    )
    over = [
        row["times_floor_copied_uniform"]
        for row in floors
        if row["together"] == 1
        and row["canvas"] == widest
        and row["form"] == size.plain
        and "times_floor_copied_uniform" in row
    ]
    name = f"a step over its bandwidth floor, canvas of {widest}, {size.plain}"
    found.append(_most(name, TIMES_FLOOR, min(over, default=None), on_gpu))
    infills = [
        (part["whole_ms"]["p50"], str(form))
        for form in size.forms
        if (part := result(record, f"infill {form}")) is not None
    ]
    ms, form = min(infills, default=(None, "no form"))
    name = f"30 tokens in 8 steps behind a kept prefix, p50 ms, best form ({form})"
    found.append(_most(name, INFILL_MS, ms, on_gpu))
    ours = [row for row in tokens if row.get("tokens_a_step") == 16 and row["canvas"] == widest]
    rates = [row["tokens_a_second"] for row in ours]
    name = f"tokens a second at 16 a step, canvas of {widest}, best form"
    found.append(_least(name, TOKENS_A_SECOND, max(rates, default=None), on_gpu))
    times = [row.get("times_autoregressive") for row in ours if row["of"] == f"ours, {size.plain}"]
    name = f"times the autoregressive model's tokens a second, at 16 a step, {size.plain}"
    found.append(_least(name, TIMES_AUTOREGRESSIVE, times[0] if times else None, on_gpu))
    shipped = result(record, "embedded") or {}
    name = "whole warm fills of the shipped model over their bare passes, p95"
    found.append(_most(name, OVER_PASSES, shipped.get("over_passes", {}).get("p95")))
    name = "whole warm fills of the shipped model, p50 ms"
    found.append(_most(name, FILL_MS, shipped.get("total_ms", {}).get("p50")))
    return found


def _least(name: str, wanted: float, measured: float | None, applies: bool = True) -> Aim:
    met = None if measured is None else measured >= wanted
    return _aim(name, f"at least {wanted:g}", measured, met, applies)


def _most(name: str, wanted: float, measured: float | None, applies: bool = True) -> Aim:
    met = None if measured is None else measured <= wanted
    return _aim(name, f"at most {wanted:g}", measured, met, applies)


def _aim(name: str, wanted: str, measured: float | None, met: bool | None, applies: bool) -> Aim:
    if measured is None:
        return Aim(name, wanted, None, None, "its part has no result")
    if not applies:
        return Aim(name, wanted, measured, None, "an aim for GPUs")
    return Aim(name, wanted, measured, met)


def _told(aim: Aim) -> dict[str, Any]:
    verdict = "not measured" if aim.measured is None else "does not apply"
    if aim.reached is not None:
        verdict = "reached" if aim.reached else "missed"
    told: dict[str, Any] = {"aim": aim.aim, "wanted": aim.wanted, "measured": aim.measured}
    told["verdict"] = verdict
    return told | ({"why": aim.why} if aim.why else {})

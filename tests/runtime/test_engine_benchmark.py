"""The engine's benchmark at its smallest: every part runs, and one that fails is only itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.engine import plot, table  # noqa: E402
from benchmarks.engine.__main__ import main  # noqa: E402
from benchmarks.engine.apart import run_apart  # noqa: E402
from benchmarks.engine.bench import Bench, Result  # noqa: E402
from benchmarks.engine.floor import step_bytes, uniform_experts  # noqa: E402
from benchmarks.engine.parts import Event, Part, parts_of, work  # noqa: E402
from benchmarks.engine.record import Record  # noqa: E402
from benchmarks.engine.sizes import SIZES  # noqa: E402
from benchmarks.engine.weights import random_gemma, weight_bytes  # noqa: E402
from dgemma_runtime.catalog.memory_plan import Form  # noqa: E402

pytestmark = pytest.mark.torch

TINY, FULL = SIZES["tiny"], SIZES["full"]
CPU = torch.device("cpu")
COMPILES = "generate(), compiled"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All parts that need nothing but this checkout, in this process."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("bench")
    options = ["--size", "tiny", "--here", "--only", "^(?!embedded)", "--device", "cpu"]
    assert main([*options, "--out", str(home / "a.json"), "--plot", str(home / "a.svg")]) == 0
    ElementTree.parse(home / "a.svg")
    return json.loads((home / "a.json").read_text(encoding="utf-8"))


def result(measured: dict[str, Any], part: str) -> Any:
    assert measured["parts"][part]["status"] == "done", measured["parts"][part]
    return measured["parts"][part]["result"]


def is_spread(found: dict[str, float]) -> bool:
    return found["n"] > 0 and found["p50"] <= found["p95"]


def test_every_part_runs(measured: dict[str, Any]) -> None:
    wanted = set(parts_of(TINY)) - {"embedded", COMPILES}
    assert {name for name, part in measured["parts"].items() if part["status"] == "done"} == wanted
    assert measured["parts"][COMPILES] == {
        "status": "skipped",
        "why": "paths that compile are measured on GPUs, or with --compile",
    }
    assert set(measured) >= {"hardware", "versions", "load_before", "load_after", "model", "date"}
    assert {"torch", "transformers", "python"} <= set(measured["versions"])


@pytest.mark.parametrize("form", TINY.forms)
def test_steps_are_measured_in_every_form(measured: dict[str, Any], form: Form) -> None:
    found = result(measured, f"steps {form}")
    assert [row["canvas"] for row in found["canvases"]] == list(TINY.canvases)
    for row in found["canvases"]:
        assert is_spread(row["ours_ms"])
        assert is_spread(row["ours_whole_ms"])
        assert is_spread(row["generate_ms"])
        # Of every run the first step does not count.
        assert row["ours_ms"]["n"] == TINY.rounds * (TINY.long - 1)
    assert found["warm_up"]["steps_run_as"]
    for row in result(measured, f"together {form}")["canvases"]:
        counts = [(each["together"], each["own_prefixes"]) for each in row["rows"]]
        assert counts == [(1, False), (2, False), (2, True)]
    lengths = [row["tokens"] for row in result(measured, f"prefixes {form}")["prefixes"]]
    assert lengths == list(TINY.prefills)
    filled = result(measured, f"infill {form}")
    assert (filled["tokens"], filled["steps"]) == (30, [8])
    assert filled["cached_tokens"] == filled["prefix_tokens"] > 0
    assert is_spread(filled["whole_ms"])


def test_floors_are_there_for_every_step(measured: dict[str, Any]) -> None:
    floors = measured["summary"]["floors"]
    found = {(row["form"], row["canvas"], row["together"]) for row in floors}
    every = {
        (str(form), canvas, count)
        for form in TINY.forms
        for canvas in TINY.canvases
        for count in TINY.together
    }
    assert found == every
    for row in floors:
        assert row["floor_copied_measured_ms"] <= row["floor_copied_uniform_ms"] * 1.5
        assert row["times_floor_copied_uniform"] > 0
    for row in result(measured, "routing")["rows"]:
        assert TINY.dims["top_k_experts"] <= row["measured"] <= TINY.dims["num_experts"]


def test_aims_are_told_with_a_verdict(measured: dict[str, Any]) -> None:
    verdicts = {aim["verdict"] for aim in measured["summary"]["aims"]}
    assert verdicts <= {"reached", "missed", "does not apply", "not measured"}
    (shipped,) = (aim for aim in measured["summary"]["aims"] if "over their bare" in aim["aim"])
    assert (shipped["verdict"], shipped["measured"]) == ("not measured", None)
    text = "\n".join(table.lines(measured))
    assert "not measured: whole warm fills" in text
    assert "generate(), float32" in plot.draw(measured)


def test_the_floor_of_the_published_model_is_the_one_that_was_computed_by_hand() -> None:
    assert uniform_experts(FULL, 32) == pytest.approx(111.8, abs=0.1)
    found = step_bytes(FULL, Form.BFLOAT16, uniform_experts(FULL, 256), 0)
    # Attention, dense layers and experts once, the embedding twice, at 16 bits; 52.0 GB.
    assert found["all"] / 1e9 == pytest.approx(52.0, abs=0.1)
    assert step_bytes(FULL, Form.INT4, 128, 0)["all"] / 1e9 == pytest.approx(16.8, abs=0.2)
    assert step_bytes(FULL, Form.BFLOAT16, 128, 4096)["prefix"] / 1e9 == pytest.approx(
        0.25, abs=0.1
    )


@pytest.mark.parametrize("form", TINY.forms)
def test_the_random_model_has_the_bytes_that_are_counted(form: Form) -> None:
    model = random_gemma(TINY.dims, form, 64, CPU)
    counted = step_bytes(TINY, form, TINY.dims["num_experts"], 0)
    once = counted["all"] - counted["embedding, twice"] / 2
    # The counts know scales at the published widths; those of narrow rows take a larger share.
    share = 0.02 if form is Form.FLOAT32 else 0.35
    assert weight_bytes(model) == pytest.approx(once, rel=share)
    assert not any(held.is_meta for held in (*model.parameters(), *model.buffers()))
    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight


def failing(_: Bench) -> Iterator[Result]:
    yield {"before": 1}
    raise RuntimeError("no such kernel")


def fine(_: Bench) -> Iterator[Result]:
    yield {"after": 1}


def endless(_: Bench) -> Iterator[Result]:
    for number in range(1000):
        time.sleep(0.01)
        yield {"so_far": number}


def test_a_part_that_fails_or_takes_too_long_keeps_what_it_had() -> None:
    record = Record(TINY, None)
    record.start("cpu", None)
    parts = {"bad": Part(failing, 10), "slow": Part(endless, 0.05), "good": Part(fine, 10)}
    work(list(parts), Bench(TINY, CPU, False), record.tell, of=parts)
    found = record.data["parts"]
    assert found["bad"]["status"] == "failed"
    assert found["bad"]["result"] == {"before": 1}
    assert "no such kernel" in found["bad"]["error"]
    assert found["slow"]["status"] == "cut"
    assert found["slow"]["result"]["so_far"] > 0
    assert (found["good"]["status"], found["good"]["result"]) == ("done", {"after": 1})


CHILD = """
import json, os, sys, time
names = [word for before, word in zip(sys.argv, sys.argv[1:]) if before == "--part"]
tell = lambda **event: print(json.dumps(event), flush=True)
print("a library's own words")
for name in names:
    tell(event="begin", part=name)
    tell(event="result", part=name, result={"seen": name})
    if name == "crash":
        os._exit(9)
    if name == "hang":
        time.sleep(60)
    tell(event="done", part=name, seconds=0.0)
"""


def test_what_takes_its_process_down_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dgemma_bench_child.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    record = Record(TINY, tmp_path / "out.json")
    record.start("cpu", None)
    names = ["first", "crash", "second", "hang", "last"]
    limits = dict.fromkeys(names, 20.0) | {"hang": 0.5}
    run_apart(names, limits, [], record.tell, until=None, module="dgemma_bench_child")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["parts"]
    assert {name: part["status"] for name, part in found.items()} == {
        "first": "done",
        "crash": "failed",
        "second": "done",
        "hang": "failed",
        "last": "done",
    }
    assert "ended with 9" in found["crash"]["error"]
    assert "killed after" in found["hang"]["error"]
    assert all(part["result"] == {"seen": name} for name, part in found.items())


def test_what_has_no_time_left_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dgemma_bench_child.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told: list[Event] = []
    names, until = ["hang", "last"], time.monotonic() + 3
    limits = dict.fromkeys(names, 60.0)
    run_apart(names, limits, [], told.append, until=until, module="dgemma_bench_child")
    ends = {event["part"]: event["event"] for event in told}
    assert ends == {"hang": "stopped", "last": "skipped"}


def test_a_later_run_measures_what_an_earlier_one_did_not(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    options = ["--size", "tiny", "--here", "--device", "cpu"]
    assert main([*options, "--only", "bandwidth", "--out", str(first)]) == 0
    more = ["--only", "bandwidth|routing", "--resume", str(first), "--out", str(second)]
    assert main([*options, *more]) == 0
    before = json.loads(first.read_text(encoding="utf-8"))["parts"]
    after = json.loads(second.read_text(encoding="utf-8"))["parts"]
    assert after["bandwidth"] == before["bandwidth"]
    assert after["routing"]["status"] == "done"


@pytest.mark.model
def test_the_model_that_ships_is_measured() -> None:
    record = Record(TINY, None)
    record.start("cpu", None)
    work(["embedded"], Bench(TINY, CPU, False), record.tell)
    found = record.data["parts"]["embedded"]
    assert found["status"] == "done", found
    assert found["result"]["fills"] == TINY.fills
    assert found["result"]["over_passes"]["p50"] >= 1

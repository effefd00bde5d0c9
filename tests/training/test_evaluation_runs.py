"""Whole evaluations: through a scripted runtime, interrupted, and of the real model."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from support.runtimes import Scripted

from dgemma_runtime.models import embedded_folder
from dgemma_runtime.text import load_codec
from dgemma_training.cli import main
from dgemma_training.documents import Document, Split, write_documents
from dgemma_training.evaluation import evaluate as evaluating
from dgemma_training.evaluation.asking import Answer, Running, RuntimeSystem
from dgemma_training.evaluation.evaluate import Settings, evaluate
from dgemma_training.evaluation.figures import FITTING
from dgemma_training.evaluation.items import EvaluationError, Item, Span, from_rows
from dgemma_training.evaluation.probes import PROBES, ask_probes
from dgemma_training.evaluation.rewriting import (
    RewriteOutcome,
    ask_rewrites,
    find_tasks,
    results_of,
)
from dgemma_training.rewrites import KINDS
from dgemma_training.rows import Row, write_rows
from dgemma_wire.endpoint import DIRECTORY_VARIABLE
from dgemma_wire.messages import Status


@pytest.fixture(scope="module")
def span() -> Span:
    return Span(load_codec(embedded_folder() / "tokenizer.json"), 24)


def make_row(name: str, prefix: str, middle: str, suffix: str) -> Row:
    return Row(
        id=name,
        language="python",
        kind="line_tail",
        package=f"p{name}",
        version="",
        licence="",
        path="a.py",
        prefix=prefix,
        middle=middle,
        suffix=suffix,
        empty_parses=False,
    )


ROWS = [
    make_row("1", "class P:\n    def __init__(self, age):\n        self.age = ", "age", "\n"),
    make_row("2", "def total(left, right):\n    return add(left, ", "right", ")\n"),
]


def ignore(text: str, share: float | None) -> None:
    """Take a line of progress and do nothing with it."""


async def test_rows_are_asked_as_the_server_asks(run_dir: Path, span: Span) -> None:
    script = Scripted(
        run_dir,
        rules=[
            {"when": "def total", "text": "right)", "steps": 3},
            {"when": "class P", "text": "age\n        self.name = name"},
            {"when": "broken", "code": "engine_fault"},
        ],
    )
    try:
        system = RuntimeSystem("product@new", script.client(), span)
        first = await system.answer(span.item(ROWS[0]))
        assert first["product@new"].text == "age"  # cut to the line that the hole is
        second = await system.answer(span.item(ROWS[1]))
        read, raw = second["product@new"], second["product_raw@new"]
        assert (raw.text, read.text) == ("right)", "right")  # the bracket is there already
        assert read.shown
        assert raw.shown is None
        assert read.rules
        assert (read.forwards, raw.forwards) == (3, 3)
        assert read.tokens == len(span.codec.encode(" right)")) + 1
        assert read.steps_ms > 0
        fault = await system.answer(span.item(make_row("3", "broken = ", "1", "\n")))
        assert fault["product@new"].problem == "engine_fault"
        assert fault["product@new"].text == ""
    finally:
        await script.close()


async def test_a_model_that_cannot_be_loaded_ends_it(run_dir: Path, span: Span) -> None:
    script = Scripted(run_dir, load_error="the weights are gone")
    try:
        with pytest.raises(EvaluationError, match="the weights are gone"):
            await RuntimeSystem("product", script.client(), span).answer(span.item(ROWS[0]))
    finally:
        await script.close()


class Oracle:
    """Knows the answer to everything it is given."""

    async def answer(self, item: Item) -> Mapping[str, Answer]:
        wrong = item.row.id == "probe/3"
        return {"oracle": Answer("" if wrong else f"{item.row.middle} ")}


async def test_probes_are_counted(span: Span) -> None:
    (found,) = await ask_probes(Oracle(), span)
    assert (found.solved, found.asked) == (19, 20)
    assert found.missed == [f"python: {PROBES[3].name}"]


async def test_rewrites_are_asked_as_the_server_asks(run_dir: Path, tmp_path: Path) -> None:
    text = "def f(a):\n    if a == None:\n        return 1\n    return a\n"
    documents = [
        Document(f"n = {n}\n{text}", "python", f"p{n}", "1", "MIT", "a.py", Split.TEST)
        for n in range(4)
    ]
    write_documents(tmp_path, documents)
    tasks = find_tasks(tmp_path, Split.TEST, 3, seed=1)
    mine = [task for task in tasks if task.rewrite.kind == "is_none"]
    assert len(mine) == 3
    wording = next(kind.instructions[0] for kind in KINDS if kind.name == "is_none")
    assert {task.rewrite.instruction for task in mine} == {wording}
    assert len({task.document.package for task in mine}) == 3
    good, bad = mine[0], mine[1]
    rules = [
        {
            "when": f"n = {task.document.package[1:]}\n",
            "instruction": wording,
            "text": task.rewrite.replacement if task is good else task.rewrite.original,
        }
        for task in (good, bad)
    ]
    script = Scripted(run_dir, rules=rules)
    outcomes: list[RewriteOutcome] = []
    try:
        await ask_rewrites("product", script.client(), mine, outcomes, ignore)
    finally:
        await script.close()
    assert [(o.done, o.shown) for o in outcomes] == [(True, True), (False, False), (False, False)]
    (found,) = results_of(outcomes)
    assert (found.kind, found.asked, found.instruction) == ("is_none", 3, wording)
    assert found.success is not None
    assert found.success.value == pytest.approx(1 / 3)


def test_rewrites_need_a_corpus() -> None:
    with pytest.raises(EvaluationError, match="--corpus"):
        evaluate([], Settings(rewrites=2), ignore)
    with pytest.raises(EvaluationError, match="Nothing to measure"):
        evaluate([], Settings(), ignore)


def test_sets_of_rows_have_names_of_their_own(span: Span) -> None:
    rows = from_rows("rows", "two rows", ROWS, span)
    with pytest.raises(EvaluationError, match="called alike"):
        evaluate([rows, rows], Settings(), ignore)


def test_what_was_measured_before_a_stop_is_kept(
    monkeypatch: pytest.MonkeyPatch, span: Span
) -> None:
    directories: list[str] = []

    @contextlib.asynccontextmanager
    async def running(model: str, directory: Path, **more: object) -> AsyncIterator[Running]:
        directories.append(os.environ[DIRECTORY_VARIABLE])
        yield Running(None, span, Status(state="ready", device="cpu"))  # type: ignore[arg-type]

    class Stopped(Oracle):
        asked = 0

        def __init__(self, *more: object) -> None:
            pass

        async def answer(self, item: Item) -> Mapping[str, Answer]:
            Stopped.asked += 1
            if Stopped.asked == 2:
                raise KeyboardInterrupt
            return await super().answer(item)

    monkeypatch.setattr(evaluating, "running", running)
    monkeypatch.setattr(evaluating, "RuntimeSystem", Stopped)
    before = os.environ.get(DIRECTORY_VARIABLE)
    sets = [from_rows("rows", "two rows", ROWS, span)]
    results, fills = evaluate(sets, Settings(systems=["product"]), ignore)
    assert results.interrupted
    (found,) = results.sets
    exact = found.systems["oracle"].groups[FITTING].exact
    assert exact is not None
    assert (exact.value, exact.n) == (1.0, 1)
    assert len(fills) == 1
    assert os.environ.get(DIRECTORY_VARIABLE) == before
    assert not Path(directories[0]).exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rows", "missing.jsonl"], "cannot be read"),
        (["--count", "3"], "--count needs --corpus"),
        (["--keep-fills"], "needs --out"),
        (["--probes", "--systems", "best"], "No system is called 'best'"),
        (["--probes", "--model", "missing"], "was not found"),
        (["--probes", "--adapter", "missing"], "no adapter"),
        ([], "Nothing to measure"),
    ],
)
def test_wrong_flags_are_explained(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *flags]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.model
def test_the_real_model_and_its_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "rows.jsonl.gz", ROWS)
    out = tmp_path / "out"
    flags = ["--rows", str(tmp_path / "rows.jsonl.gz"), "--systems", "product", "base"]
    assert main(["eval", *flags, "--out", str(out), "--keep-fills"]) == 0
    assert "product" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    (found,) = results["sets"]
    assert (found["rows"], found["fitting"]) == (2, 2)
    assert set(found["systems"]) == {
        *("product", "product_raw"),
        *("base", "base_cut", "base_trimmed"),
    }
    assert {info["name"]: info["dtype"] for info in results["systems"]}["product"] != ""
    fills = [json.loads(line) for line in (out / "fills.jsonl").read_text().splitlines()]
    texts = {(fill["system"], fill["row"]): fill["fill"] for fill in fills}
    # Both of these are as plain as can be; the base cannot know of the bracket.
    assert texts["product", "1"] == "age"
    assert texts["base", "1"].strip() == "age"
    assert texts["base", "2"].strip() == "right)"
    assert texts["base_cut", "2"] == "right"
    assert texts["base_trimmed", "2"] == "right"
    for fill in fills:
        assert fill["forwards"] >= 1
        assert fill["tokens"] >= 2
        assert not fill["problem"]
    difference = found["differences"][0]
    assert difference["by_file"]["n"] == 2
    assert "## rows" in (out / "table.md").read_text()

"""Whole evaluations: through a scripted runtime, interrupted, and of the real model."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from support.runtimes import Scripted

from dgemma_runtime.models import embedded_folder
from dgemma_runtime.text import load_codec
from dgemma_training.cli import main
from dgemma_training.documents import Document, Split, write_documents
from dgemma_training.evaluation import evaluate as evaluating
from dgemma_training.evaluation import report
from dgemma_training.evaluation.asking import Answer, Running, RuntimeSystem
from dgemma_training.evaluation.evaluate import evaluate
from dgemma_training.evaluation.figures import FITTING
from dgemma_training.evaluation.items import EvaluationError, Item, Span, from_rows, shuffled
from dgemma_training.evaluation.journal import JOURNAL_FILE, Journal
from dgemma_training.evaluation.plan import Settings
from dgemma_training.evaluation.probes import PROBES, ask_probes
from dgemma_training.evaluation.rewriting import (
    RewriteOutcome,
    Task,
    ask_rewrite,
    find_tasks,
    results_of,
)
from dgemma_training.rewrites import KINDS
from dgemma_training.rows import Row
from dgemma_wire.endpoint import DIRECTORY_VARIABLE
from dgemma_wire.messages import Status
from tests.training.row_files import write_rows


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
        client = script.client()
        for number, task in enumerate(mine, 1):
            outcomes.append(await ask_rewrite("product", client, task, number))
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


class Resumable(Oracle):
    """Counts what it is asked, and is stopped at a row."""

    asked: ClassVar[list[str]] = []
    stop_at: ClassVar[str] = ""

    def __init__(self, *more: object) -> None:
        pass

    async def answer(self, item: Item) -> Mapping[str, Answer]:
        if item.row.id == Resumable.stop_at:
            raise KeyboardInterrupt
        Resumable.asked.append(item.row.id)
        return await super().answer(item)


@pytest.fixture
def resumable(monkeypatch: pytest.MonkeyPatch, span: Span) -> Iterator[type[Resumable]]:
    @contextlib.asynccontextmanager
    async def running(model: str, directory: Path, **more: object) -> AsyncIterator[Running]:
        yield Running(None, span, Status(state="ready", device="cpu"))  # type: ignore[arg-type]

    monkeypatch.setattr(evaluating, "running", running)
    monkeypatch.setattr(evaluating, "RuntimeSystem", Resumable)
    yield Resumable
    Resumable.asked, Resumable.stop_at = [], ""


@pytest.mark.parametrize("torn", [b"", b'{"type":"fill","system":"pro'])
def test_a_stopped_evaluation_goes_on_where_it_was(
    resumable: type[Resumable], span: Span, tmp_path: Path, torn: bytes
) -> None:
    rows = [make_row(str(n), f"n{n} = ", str(n), "\n") for n in range(6)]
    sets = [from_rows("rows", "six rows", rows, span)]
    settings = Settings(systems=["product"], probes=True, seed=3)
    journal = tmp_path / "out" / JOURNAL_FILE
    resumable.stop_at = shuffled(sets[0].items, 3)[4].row.id
    first, _ = evaluate(sets, settings, ignore, journal=journal)
    assert first.interrupted
    assert not first.resumed
    before = [row for row in resumable.asked if not row.startswith("probe/")]
    assert len(before) == 4
    journal.write_bytes(journal.read_bytes() + torn)

    with pytest.raises(EvaluationError, match="of another evaluation"):
        evaluate(sets, Settings(systems=["product"], probes=True, seed=4), ignore, journal=journal)
    other = [from_rows("rows", "six rows", rows[:5], span)]
    with pytest.raises(EvaluationError, match="of another evaluation"):
        evaluate(other, settings, ignore, journal=journal)

    resumable.asked, resumable.stop_at = [], ""
    second, fills = evaluate(sets, settings, ignore, journal=journal)
    assert sorted(resumable.asked) == [row.id for row in rows if row.id not in before]
    assert second.resumed
    assert not second.interrupted
    assert not journal.exists()

    resumable.asked = []
    whole, all_fills = evaluate(sets, settings, ignore)
    assert len(resumable.asked) == 6 + len(PROBES)
    assert whole.sets == second.sets
    assert whole.probes == second.probes
    assert whole.systems == second.systems
    assert fills == all_fills


def test_an_evaluation_killed_at_its_end_asks_nobody_again(
    resumable: type[Resumable], span: Span, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [from_rows("rows", "two rows", ROWS, span)]
    settings = Settings(systems=["product"])
    journal = tmp_path / JOURNAL_FILE
    monkeypatch.setattr(evaluating.Journal, "close", lambda self, complete: self._file.close())
    first, _ = evaluate(sets, settings, ignore, journal=journal)
    monkeypatch.undo()
    second, _ = evaluate(sets, settings, ignore, journal=journal)  # starts no runtime
    assert resumable.asked == [item.row.id for item in shuffled(sets[0].items, 0)]
    assert second.sets == first.sets
    assert second.systems == first.systems


def test_rewrites_go_on_where_they_were(
    resumable: type[Resumable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def f(a):\n    if a == None:\n        return 1\n    return a\n"
    documents = [
        Document(f"n = {n}\n{text}", "python", f"p{n}", "1", "MIT", "a.py", Split.VALIDATION)
        for n in range(4)
    ]
    write_documents(tmp_path, documents)
    asked: list[int] = []
    stop_at = 3

    async def ask(name: str, client: object, task: Task, number: int) -> RewriteOutcome:
        if number == stop_at:
            raise KeyboardInterrupt
        asked.append(number)
        return RewriteOutcome(name, task, done=number % 2 == 0, shown=True)

    monkeypatch.setattr(evaluating, "ask_rewrite", ask)
    settings = Settings(systems=["product"], rewrites=4, rewrite_corpus=tmp_path)
    journal = tmp_path / JOURNAL_FILE
    first, _ = evaluate([], settings, ignore, journal=journal)
    assert first.interrupted
    assert sum(each.asked for each in first.rewrites) == 2
    stop_at = 0
    second, _ = evaluate([], settings, ignore, journal=journal)
    assert asked == list(range(1, len(asked) + 1))
    assert sum(each.asked for each in second.rewrites) == len(asked)
    whole, _ = evaluate([], settings, ignore)
    assert whole.rewrites == second.rewrites


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no json\n", "cannot be read"),
        (b'{"type":"probes","system":"a","results":[]}\n', "another"),
    ],
)
def test_a_file_of_answers_that_is_none_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / JOURNAL_FILE).write_bytes(data)
    with pytest.raises(EvaluationError, match=said):
        Journal(tmp_path / JOURNAL_FILE, "digest")
    assert (tmp_path / JOURNAL_FILE).read_bytes() == data


def test_every_kind_of_span_has_its_lines(
    resumable: type[Resumable], span: Span, tmp_path: Path
) -> None:
    rows = [
        *(make_row(str(n), f"n{n} = ", "1", "\n") for n in range(3)),
        msgspec.structs.replace(ROWS[0], id="a", kind="middle"),
        msgspec.structs.replace(ROWS[0], id="b", kind="block", middle="x = 1\n" * 20),
    ]
    sets = [from_rows("rows", "five rows", rows, span)]
    results, _ = evaluate(sets, Settings(systems=["product"]), ignore)
    said = report.summary(results).splitlines()
    assert "  line_tail, 3 that fit" in said
    assert "  middle, 1 that fit" in said
    assert not any("block" in line for line in said)  # too long for a span of this model
    assert "exact" in said[said.index("  middle, 1 that fit") + 1]
    report.write(tmp_path, results, None)
    assert "line_tail (3)" in (tmp_path / "table.md").read_text()


@pytest.mark.torch
def test_two_files_of_one_run_are_compared_on_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    from dgemma_training.adapter import balance, quantise, save_adapter
    from tests.runtime.tiny_canvas import tiny_adapter, tiny_folder

    tensors = tiny_adapter()
    save_adapter(tmp_path / "small.safetensors", quantise(balance(tensors)), {})
    halves = {name: each.to(torch.bfloat16) for name, each in tensors.items()}
    save_adapter(tmp_path / "large.safetensors", halves, {})
    write_rows(tmp_path / "rows.jsonl.gz", ROWS)
    flags = ["--model", str(tiny_folder(tmp_path / "model")), "--systems", "product"]
    flags += ["--adapter", f"int8={tmp_path / 'small.safetensors'}"]
    flags += [f"bfloat16={tmp_path / 'large.safetensors'}", "--threads", "1"]
    out = tmp_path / "out"
    flags += ["--rows", str(tmp_path / "rows.jsonl.gz"), "--out", str(out)]
    assert main(["eval", *flags]) == 0
    results = json.loads((out / "results.json").read_text())
    (found,) = results["sets"]
    assert {"product@int8", "product@bfloat16"} <= set(found["systems"])
    pairs = {(each["first"], each["second"]) for each in found["differences"]}
    assert ("product@int8", "product@bfloat16") in pairs
    digests = {info["name"]: info["adapter_sha256"] for info in results["systems"]}
    assert digests["product@int8"] != digests["product@bfloat16"]
    assert "product@bfloat16" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["plot.svg", "results.json", "table.md"]


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

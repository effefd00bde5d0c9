"""From judged answers to figures: intervals, groups of rows, differences, tables and pictures."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from dgemma_training.evaluation.asking import Answer
from dgemma_training.evaluation.figures import (
    EVERY,
    FITTING,
    TOO_LONG,
    Score,
    differences,
    figures_of,
)
from dgemma_training.evaluation.intervals import ratio, spread
from dgemma_training.evaluation.items import (
    Item,
)
from dgemma_training.evaluation.judging import Judge
from dgemma_training.evaluation.plot import draw
from dgemma_training.evaluation.report import table, write
from dgemma_training.evaluation.results import Results, SetResult, machine
from dgemma_training.rows import Row


def make_row(name: str = "1", **more: str) -> Row:
    fields = {"language": "python", "kind": "line_tail", "package": "p", "path": "a.py"}
    fields |= {"prefix": "def f(a):\n    return ", "middle": "a + 1", "suffix": "\n"} | more
    return Row(id=name, version="", licence="", empty_parses=False, **fields)


def make_score(
    number: int, *, exact: bool, system: str = "x", fits: bool = True, **more: str
) -> Score:
    item = Item(make_row(str(number), **more), tokens=4, fits=fits)
    text = item.row.middle if exact else "b"
    answer = Answer(text, tokens=6, forwards=3, prefill_ms=50.0, steps_ms=10.0 * number)
    return Score(system, item, answer, Judge().judge(item, text))


# -- intervals --------------------------------------------------------------------------------


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(5)
    covered = 0
    for trial in range(120):
        values = [float(rng.random() < 0.3) for _ in range(80)]
        found = ratio(values, [str(n) for n in range(80)], seed=trial)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        covered += found.low <= 0.3 <= found.high
    assert 0.87 <= covered / 120 <= 1.0


def test_rows_of_one_file_count_less_than_rows_of_many() -> None:
    values = [1.0] * 50 + [0.0] * 50
    alone = ratio(values, [str(n) for n in range(100)])
    together = ratio(values, [str(n // 10) for n in range(100)])
    assert alone is not None
    assert together is not None
    assert alone.value == together.value == 0.5
    assert alone.low is not None
    assert alone.high is not None
    assert together.low is not None
    assert together.high is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert (together.n, together.clusters) == (100, 10)


def test_ratios_are_of_sums_and_nothing_has_none() -> None:
    found = ratio([2.0, 8.0], ["a", "b"], [1.0, 4.0])
    assert found is not None
    assert found.value == 2.0
    single = ratio([1.0, 0.0], ["a", "a"])
    assert single is not None
    assert (single.value, single.low, single.high) == (0.5, None, None)
    assert ratio([], []) is None
    assert ratio([1.0], ["a"], [0.0]) is None
    values = [1.0, 0.0, 1.0]
    assert ratio(values, list("abc"), seed=4) == ratio(values, list("abc"), seed=4)


def test_spreads() -> None:
    found = spread([float(n) for n in range(1, 102)])
    assert found is not None
    assert (found.p50, found.p95, found.n) == (51.0, 96.0, 101)
    assert spread([]) is None


# -- groups -----------------------------------------------------------------------------------


def test_rows_that_cannot_be_right_are_kept_apart() -> None:
    scores = [make_score(n, exact=n < 3, path=f"{n}.py") for n in range(4)]
    scores += [make_score(9, exact=False, fits=False, kind="block")]
    found = figures_of(scores)
    values = {name: figures.exact.value for name, figures in found.groups.items() if figures.exact}
    assert values == {FITTING: 0.75, EVERY: 0.6, TOO_LONG: 0.0}
    assert set(found.kinds) == {"line_tail"}
    assert set(found.empty_parses) == {"no"}
    main = found.groups[FITTING]
    assert main.tokens_per_forward is not None
    assert main.tokens_per_forward.value == 2.0
    assert main.steps_ms is not None
    assert main.steps_ms.p50 == 15.0
    assert main.passed is None
    assert main.shown is None
    assert main.answered is not None
    assert main.answered.value == 1.0


def test_a_row_without_a_text_counts_as_wrong_and_not_as_fast() -> None:
    item = Item(make_row("2"), 4, True)
    nothing = Answer("", shown=False, problem="deadline")
    scores = [make_score(1, exact=True), Score("x", item, nothing, Judge().judge(item, ""))]
    found = figures_of(scores).groups[FITTING]
    assert found.exact is not None
    assert found.exact.value == 0.5
    assert found.problems == {"deadline": 1}
    assert found.steps_ms is not None
    assert found.steps_ms.n == 1


def test_differences_are_of_the_same_rows() -> None:
    first = [make_score(n, exact=n % 2 == 0, path=str(n)) for n in range(40)]
    second = [make_score(n, exact=n % 4 == 0, path=str(n), system="y") for n in reversed(range(30))]
    found = {(each.rows, each.rate): each for each in differences(first, second)}
    exact = found[FITTING, "exact"]
    assert (exact.first, exact.second) == ("x", "y")
    assert exact.by_file.n == 30
    assert exact.by_file.value == pytest.approx(7 / 30)
    assert exact.by_file.low is not None
    assert 0 < exact.by_file.low < exact.by_file.value
    assert exact.by_package.low is None  # one package says nothing of others
    assert (FITTING, "passed") not in found
    assert differences(first, []) == []


# -- what is written --------------------------------------------------------------------------


def make_results() -> Results:
    kinds = ("line_tail", "middle")
    systems = {
        name: [
            make_score(n, exact=n % part == 0, system=name, path=str(n), kind=kinds[n % 2])
            for n in range(12)
        ]
        for name, part in (("product", 2), ("product_raw", 3), ("base_cut", 4))
    }
    one = SetResult(
        name="some <rows>",
        source="12 rows",
        sha256="ab" * 32,
        rows=12,
        fitting=12,
        systems={name: figures_of(scores) for name, scores in systems.items()},
        differences=differences(systems["product"], systems["base_cut"]),
    )
    return Results(
        date="2026-01-01",
        release="0",
        machine=machine(),
        interrupted=True,
        sandboxed="nothing was run",
        seed=0,
        systems=[],
        sets=[one],
        probes=[],
        rewrites=[],
    )


def test_the_table_has_the_figures() -> None:
    text = table(make_results())
    assert "Interrupted" in text
    line = next(line for line in text.splitlines() if line.startswith("| product | 12 |"))
    assert "| 50.0 [" in line
    assert "line_tail (6)" in text
    assert "product minus base_cut" in text
    widths: list[set[int]] = [set()]
    for line in text.splitlines():
        if line.startswith("|"):
            widths[-1].add(line.count("|"))
        else:
            widths.append(set())
    assert all(len(width) <= 1 for width in widths)  # every table has as many cells in each row


def test_the_picture_has_a_bar_per_system_and_part() -> None:
    results = make_results()
    picture = draw(results.sets)
    root = ElementTree.fromstring(picture)
    titles = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "product: 50.0 %" in titles
    assert not any("product_raw" in (title or "") for title in titles)
    bars = [title for title in titles if title is not None and title.endswith(" %")]
    assert len(bars) == 2 * (1 + 2 + 1)  # all, two kinds, one length
    assert "some &lt;rows&gt;" in picture


def test_files_are_written_and_fills_only_when_asked(tmp_path: Path) -> None:
    results = make_results()
    write(tmp_path / "new", results, None)
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"results.json", "table.md", "plot.svg"}
    read = msgspec.json.decode((tmp_path / "new/results.json").read_bytes(), type=Results)
    assert read == results
    write(tmp_path / "new", results, [])
    assert (tmp_path / "new/fills.jsonl").read_bytes() == b""

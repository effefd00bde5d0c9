"""Statistics: counts, their file, and when what is written; with a clock that is moved by hand."""

from __future__ import annotations

import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.cli.main import main
from dgemma_lsp.infill.types import Candidate, Verdict
from dgemma_lsp.statistics.counts import KEPT_DAYS, Days, Tallied, decode, encode
from dgemma_lsp.statistics.file import CountsFile
from dgemma_lsp.statistics.recorder import KEPT_AFTER_S, WRITE_EVERY_S, Recorder, is_kept
from tests.lsp.holes import snapshot

TODAY = "2026-11-21"
NOON = 1_795_262_400.0
URI = "file:///a"


class Bench:
    """A recorder, its clock and its editor's only document."""

    def __init__(self, path: Path) -> None:
        self.now = NOON
        self.text: str | None = ""
        self.plans: list[tuple[float, Callable[[], None]]] = []
        self.fails = False
        self.writes = 0
        self.file = CountsFile(path)
        self.recorder = Recorder(
            self.file, lambda _: self.text, lambda: self.now, self.later, self.apart
        )

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        self.plans.append((self.now + seconds, work))

    def apart(self, work: Callable[[], None], ended: Callable[[bool], None]) -> None:
        self.writes += 1
        if not self.fails:
            work()
        ended(not self.fails)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [plan for plan in self.plans if plan[0] <= until]:
            first = min(due, key=lambda plan: plan[0])
            self.plans.remove(first)
            self.now = first[0]
            first[1]()
        self.now = until

    def offer(self, text: str, took: float = 40.0, typed: int = 0) -> int:
        one = Candidate(text, text, -0.1, 0.9, 3, "settled", Verdict(True))
        (number,) = self.recorder.offered([one], snapshot(""), 0, typed, took)
        return number

    @property
    def total(self) -> dict[str, Any]:
        counts = self.recorder.statistics().total
        return {name: getattr(counts, name) for name in counts.__struct_fields__}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "state" / "statistics.json")


# -- counts -------------------------------------------------------------------------------------

TALLIES = st.builds(
    Tallied,
    requests=st.integers(0, 99),
    kept=st.integers(0, 99),
    latency=st.dictionaries(st.integers(0, 90), st.integers(1, 9), max_size=4),
)
DAYS = st.builds(
    Days,
    days=st.dictionaries(
        st.dates().map(str), st.dictionaries(st.sampled_from(["python", "go"]), TALLIES, min_size=1)
    ),
)


@given(DAYS, DAYS)
def test_adding_is_the_same_in_any_order_and_survives_the_file(one: Days, other: Days) -> None:
    left, right = decode(encode(one)), decode(encode(other))
    left.add(other)
    right.add(one)
    assert left == right
    assert left.total().requests == one.total().requests + other.total().requests


@given(st.lists(st.floats(0.1, 100_000), min_size=1, max_size=50), st.floats(0.01, 1))
def test_percentiles_are_near(times: list[float], share: float) -> None:
    tallied = Tallied()
    for each in times:
        tallied.took(each)
    found = tallied.percentile(share)
    exact = sorted(times)[max(0, -(-int(share * len(times) * 1000) // 1000) - 1)]
    near = [each for each in times if each / 1.3 <= (found or 0) <= max(1.3, each * 1.3)]
    assert near, (found, exact)
    assert Tallied().percentile(0.5) is None


def test_old_days_are_dropped() -> None:
    days = Days()
    for day in ("2026-11-21", "2026-08-24", "2026-08-23", "1999-01-01", "../etc", "2026-1-1"):
        days.of(day, "python").requests += 1
    days.forget_before(TODAY)
    assert sorted(days.days) == ["2026-08-24", "2026-11-21"]
    assert KEPT_DAYS == 90


# -- the file -----------------------------------------------------------------------------------


def counted(number: int = 1) -> Days:
    days = Days()
    days.of(TODAY, "python").requests = number
    return days


def test_the_file_is_the_users_alone(bench: Bench) -> None:
    bench.file.add(counted(), TODAY)
    path = bench.file.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "statistics.json",
        "statistics.json.lock",
    ]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"days": 3}',
        b'{"format": 2, "days": {}}',
        b'{"days": {"2026-11-21": {"python": {"requests": -1}}}}',
        b'{"days": {"2026-11-21": {"python": {"latency": {"x": 1}}}}}',
    ],
)
def test_a_broken_file_is_begun_anew(bench: Bench, broken: bytes) -> None:
    bench.file.path.parent.mkdir()
    bench.file.path.write_bytes(broken)
    assert bench.file.read().days == {}
    bench.file.add(counted(), TODAY)
    assert bench.file.read().total().requests == 1


def _count(path: str, times: int) -> None:
    for _ in range(times):
        CountsFile(Path(path)).add(counted(), TODAY)


def test_several_servers_lose_no_counts(bench: Bench) -> None:
    context = multiprocessing.get_context("spawn")
    servers = [context.Process(target=_count, args=(str(bench.file.path), 20)) for _ in range(2)]
    for each in servers:
        each.start()
    for each in servers:
        each.join()
    assert bench.file.read().total().requests == 40


# -- what is counted ----------------------------------------------------------------------------


def test_one_completion_from_request_to_kept(bench: Bench) -> None:
    bench.recorder.requested("python")
    number = bench.offer("a + b")
    bench.recorder.did_show(number)
    bench.recorder.did_show(number)
    bench.recorder.accepted(number)
    bench.recorder.accepted(number)
    bench.recorder.rejected(number)
    bench.text = "def f():\n    return a + b\n"
    bench.pass_time(KEPT_AFTER_S - 1)
    assert bench.total["kept"] == 0
    bench.pass_time(2)
    total = bench.total
    assert [total[n] for n in ("requests", "shown", "accepted", "kept", "rejected")] == [
        1,
        1,
        1,
        1,
        0,
    ]
    assert total["latency_p50_ms"] == pytest.approx(40, rel=0.1)
    found = bench.recorder.statistics()
    assert list(found.by_language) == ["python"]
    assert found.since == TODAY


def test_what_was_deleted_is_not_kept(bench: Bench) -> None:
    bench.text = "something else entirely\n"
    bench.recorder.accepted(bench.offer("total * rate"))
    bench.pass_time(31)
    assert (bench.total["accepted"], bench.total["kept"]) == (1, 0)


def test_a_document_that_is_closed_is_judged_before(bench: Bench) -> None:
    bench.text = "total * rate\n"
    bench.recorder.accepted(bench.offer("total * rate"))
    bench.recorder.closing(URI)
    bench.text = None
    bench.pass_time(31)
    assert bench.total["kept"] == 1


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        ("x = total_price * tax_rate + shipping_costs\n", True),
        ("x = total_price  *  tax_rate\n  + shipping_costs\n", True),
        ("x = total_price * the_rate + shipping_costs\n", True),
        ("x = total_price\n", False),
        ("x = t * r + s\n", False),
        ("", False),
    ],
)
def test_nearly_all_of_it(document: str, kept: bool) -> None:
    assert is_kept(document, 4, "total_price * tax_rate + shipping_costs") is kept


def test_what_is_rejected_or_taken_in_part(bench: Bench) -> None:
    first, second = bench.offer("one two three"), bench.offer("four")
    bench.recorder.partly_accepted(first, 3)
    bench.recorder.partly_accepted(first, 7)
    bench.recorder.rejected(first)  # of what was partly taken that says nothing
    bench.recorder.rejected(second)
    bench.recorder.rejected(second)
    total = bench.total
    assert (total["partly_accepted"], total["rejected"], total["accepted"]) == (1, 1, 0)


def test_clients_that_say_nothing_show_the_first_one(bench: Bench) -> None:
    bench.offer("one")
    assert bench.total["shown"] == 1
    bench.recorder.did_show(bench.offer("two"))
    bench.offer("three")  # this client would say so
    assert bench.total["shown"] == 2


def test_typing_into_one_is_no_other(bench: Bench) -> None:
    whole = Candidate("a + b", "a + b", -0.1, 0.9, 3, "settled", Verdict(True))
    from dataclasses import replace

    (number,) = bench.recorder.offered([whole], snapshot(""), 0, 0, 40)
    (again,) = bench.recorder.offered([replace(whole, text=" b")], snapshot("a +"), 3, 3, 1)
    assert number == again
    assert bench.total["shown"] == 1
    assert bench.total["latency_p95_ms"] > 30  # a cached rest is no answer


def test_unknown_numbers_are_no_trouble(bench: Bench) -> None:
    for tell in (bench.recorder.did_show, bench.recorder.accepted, bench.recorder.rejected):
        tell(999)
    bench.recorder.partly_accepted(-1, 3)
    assert bench.total["shown"] == 0


# -- when it is written -------------------------------------------------------------------------


def test_counts_are_written_together(bench: Bench) -> None:
    for _ in range(50):
        bench.recorder.requested("python")
        bench.pass_time(0.05)
    assert bench.writes == 0
    bench.pass_time(WRITE_EVERY_S)
    assert bench.writes == 1
    assert bench.file.read().total().requests == 50
    bench.pass_time(3600)
    assert bench.writes == 1


def test_a_disk_that_is_full_disturbs_nobody(bench: Bench) -> None:
    bench.fails = True
    bench.recorder.requested("python")
    bench.pass_time(600)
    assert bench.writes <= 12
    assert bench.total["requests"] == 1
    bench.fails = False
    bench.pass_time(120)
    assert bench.file.read().total().requests == 1
    assert bench.total["requests"] == 1


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    bench = Bench(tmp_path / "state" / "statistics.json")
    bench.recorder.requested("python")
    assert bench.total["requests"] == 1
    bench.recorder.close()


def test_the_end_of_a_server_writes(bench: Bench) -> None:
    bench.text = "a + b"
    bench.recorder.accepted(bench.offer("a + b"))
    bench.recorder.close()
    kept = bench.file.read().total()
    assert (kept.accepted, kept.kept) == (1, 1)


def test_turned_off_nothing_is_counted(bench: Bench) -> None:
    bench.recorder.enabled = False
    bench.recorder.requested("python")
    bench.recorder.accepted(bench.offer("a"))
    bench.pass_time(60)
    bench.recorder.close()
    assert bench.total["requests"] == 0
    assert not bench.file.path.exists()


def test_no_text_and_no_file_name_is_kept(bench: Bench) -> None:
    bench.text = "secret_text = 1"
    bench.recorder.requested("python")
    bench.recorder.accepted(bench.offer("secret_text = 1"))
    bench.pass_time(60)
    bench.recorder.close()
    kept = json.loads(bench.file.path.read_text())
    assert set(kept) == {"format", "days"}
    assert set(kept["days"]) == {TODAY}
    (languages,) = kept["days"].values()
    assert set(languages) == {"python"}
    assert all(isinstance(v, int | dict) for v in languages["python"].values())
    assert "secret" not in bench.file.path.read_text()


def test_erasing(bench: Bench) -> None:
    bench.recorder.requested("python")
    bench.pass_time(60)
    bench.recorder.requested("python")
    bench.recorder.erase()
    assert bench.total["requests"] == 0
    bench.pass_time(60)
    assert bench.total["requests"] == 0


# -- the command --------------------------------------------------------------------------------


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["stats"]) == 0
    assert "Nothing has been counted" in capsys.readouterr().out
    days = Days()
    tallied = days.of(TODAY, "python")
    tallied.requests, tallied.shown, tallied.accepted, tallied.kept = 10, 8, 4, 3
    tallied.took(50)
    CountsFile().add(days, TODAY)
    assert main(["stats"]) == 0
    out = capsys.readouterr().out
    assert "50% of those shown were accepted, 75% of these kept" in out
    assert str(tmp_path) in out
    assert main(["stats", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["byLanguage"]["python"]["accepted"] == 4
    assert main(["stats", "--erase"]) == 0
    assert main(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out[len("All counts are erased.\n") :])["since"] is None

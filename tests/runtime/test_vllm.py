"""The engine over vLLM servers: what is sent, what comes back, and everything that goes wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.tiny_vllm import TinyVllm, make_certificates, serving
from support.vllm_files import BOS, CANVAS, EOS, server, write_files

from dgemma_runtime.engine import make_engine
from dgemma_runtime.engine.base import Answer
from dgemma_runtime.job import Job, JobCancelled
from dgemma_runtime.remote import pool as pools
from dgemma_runtime.remote import servers as named
from dgemma_runtime.remote.engine import RemoteEngine
from dgemma_runtime.text import load_codec
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Clamped, Denoise, Free, Kept, Renoise, Rewrite
from dgemma_wire.settings import RuntimeSettings

PREFIX = "def add(a, b):\n    return "
SEGMENTS = (Free(max_lines=1, tokens=12), Clamped(text="\n\nprint(add(1, 2))\n"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(named.KEY_VARIABLE, raising=False)


@contextmanager
def loaded(files: Path, *servers: TinyVllm, **more: Any) -> Iterator[RemoteEngine]:
    urls = ",".join(one.url for one in servers)
    settings = RuntimeSettings(model=f"vllm:{urls}", vllm_files=str(files), **more)
    engine = make_engine(settings)
    assert isinstance(engine, RemoteEngine)
    try:
        engine.load(lambda _: None)
        yield engine
    finally:
        engine.unload()


def job(request: Denoise | Renoise | None = None, peer: int = 1, **more: Any) -> Job:
    request = request or Denoise(id=1, document="d", prefix=PREFIX, segments=SEGMENTS, **more)
    return Job(peer, request, time.monotonic())


def ignore(_: object) -> None:
    pass


def texts(engine: RemoteEngine, **more: Any) -> list[str]:
    return [one.texts[0] for one in engine.denoise(job(**more), ignore).candidates]


# -- what travels -----------------------------------------------------------------------------


def test_a_fill(files: Path) -> None:
    one = server(files, "a + b\nx")
    with serving(one), loaded(files, one) as engine:
        answer = engine.denoise(job(max_steps=7, seed=5), ignore)
        again = engine.denoise(job(max_steps=7, seed=5), ignore)
        engine.denoise(job(max_steps=7, seed=6), ignore)
    (candidate,) = answer.candidates
    assert candidate.texts == ("a + b",)
    assert candidate.complete
    assert candidate.score == pytest.approx(-0.25)
    assert [token.chars for token in candidate.tokens[0]] == [1] * 4 + [1]
    assert answer.timings.cached_tokens == 3
    assert again.candidates[0].texts == candidate.texts

    sent, same, other = one.seen
    given = sent["vllm_xargs"]
    codec = load_codec(files / "tokenizer.json")
    # The blank before the span is the span's; the whole suffix fits and is pinned.
    assert sent["prompt"] == [BOS, *codec.encode(PREFIX[:-1])]
    tail = codec.encode(SEGMENTS[1].text)
    assert given["diffusion_canvas_length"] == 12 + len(tail) == len(given["diffusion_seed_canvas"])
    assert given["diffusion_seed_canvas"][12:] == tail
    assert given["diffusion_pinned"] == list(range(12, 12 + len(tail)))
    assert given["diffusion_max_steps"] == 7
    assert sent["max_tokens"] == 12 + len(tail)
    assert sent["ignore_eos"] is True
    assert not {"temperature", "seed", "top_p"} & set(sent)
    assert len(sent["cache_salt"]) >= 32
    # Noise is drawn by the request's seed.
    assert same == sent
    assert other["vllm_xargs"]["diffusion_seed_canvas"][:12] != given["diffusion_seed_canvas"][:12]


def test_candidates_are_asked_for_together(files: Path) -> None:
    one = server(files, "a + b", "b + a", "a + b")
    one.faults += ["late", "late", "late"]
    with serving(one), loaded(files, one) as engine:
        before = time.monotonic()
        found = texts(engine, candidates=3)
        assert time.monotonic() - before < 1.2  # three times half a second, at once
    assert sorted(found) == ["a + b", "b + a"]
    seeds = {tuple(body["vllm_xargs"]["diffusion_seed_canvas"]) for body in one.seen}
    assert len(seeds) == 3


def test_several_spans_and_clamped_text_between(files: Path) -> None:
    one = server(files, "xy")
    segments = (Free(tokens=2), Clamped(text=" = "), Free(tokens=3), Clamped(text="\n"))
    with serving(one), loaded(files, one) as engine:
        answer = engine.denoise(
            job(Denoise(id=1, document="d", prefix="", segments=segments)), ignore
        )
    assert answer.candidates[0].texts == ("xy", "")
    assert one.seen[0]["prompt"] == [BOS]


def test_what_the_server_makes_of_pinned_positions_is_not_read(files: Path) -> None:
    one = server(files, "a")
    plain = one.answer

    def answer(body: dict[str, Any], width: int) -> dict[str, Any]:
        made = plain(body, width)
        for place in body["vllm_xargs"].get("diffusion_pinned", ()):
            made["choices"][0]["token_ids"][place] = EOS
        return made

    one.answer = answer  # type: ignore[method-assign]
    segments = (Free(tokens=2), Clamped(text="="), Free(tokens=2), Clamped(text=";"))
    with serving(one), loaded(files, one) as engine:
        request = Denoise(id=1, document="d", prefix="x", segments=segments)
        assert engine.denoise(job(request), ignore).candidates[0].texts == ("a", "")


def test_a_repair_goes_on_from_a_draft(files: Path) -> None:
    one = server(files, "f(a))", "b")
    with serving(one), loaded(files, one) as engine:
        (first,) = engine.denoise(job(), ignore).candidates
        pieces = (Kept(start=0, end=3), Free(tokens=1), Kept(start=4, end=5))
        again = Renoise(id=2, document="d", draft=first.draft, spans=(pieces,))
        (mended,) = engine.denoise(job(again), ignore).candidates
        assert mended.texts == ("f(ab)",)
        with pytest.raises(DenoiseFailed) as raised:
            engine.denoise(job(again, peer=2), ignore)
        assert raised.value.code is FailureCode.DRAFT_GONE


def test_a_span_that_begins_as_a_text(files: Path) -> None:
    one = server(files, "abc")
    segments = (Free(start="let x = 1", noise=0.3), Clamped(text="\n"))
    with serving(one), loaded(files, one) as engine:
        request = Denoise(id=1, document="d", prefix="", segments=segments, seed=3)
        engine.denoise(job(request), ignore)
    seeds = one.seen[0]["vllm_xargs"]["diffusion_seed_canvas"]
    begun = load_codec(files / "tokenizer.json").encode("let x = 1")
    kept = sum(a == b for a, b in zip(seeds, begun, strict=False))
    assert 5 <= kept < len(begun)
    assert 0 not in one.seen[0]["vllm_xargs"]["diffusion_pinned"]


def test_a_conversation_model_is_asked_in_its_turns(tmp_path: Path) -> None:
    files = write_files(tmp_path / "talks", talks=True, canvas=256)
    one = server(files, "a * b", canvas=256)
    rewrite = Rewrite(instruction="multiply", original="    return a + b")
    with serving(one), loaded(files, one) as engine:
        assert engine.capabilities.instructions
        assert texts(engine, candidates=1) == ["a * b"]
        request = Denoise(
            id=1,
            document="d",
            prefix="def f(a, b):\n",
            segments=(Free(tokens=20), Clamped(text="\n")),
            rewrite=rewrite,
        )
        engine.denoise(job(request), ignore)
    codec = load_codec(files / "tokenizer.json")
    turn = codec.control("<|turn>")
    assert all(body["prompt"].count(turn) == 2 for body in one.seen)
    assert "multiply" in codec.decode(one.seen[-1]["prompt"])


def test_the_servers_narrower_canvas_and_context_count(files: Path) -> None:
    one = server(files, canvas=32, max_model_len=200)
    with serving(one), loaded(files, one) as engine:
        assert engine.limits.canvas_tokens == 32
        assert engine.limits.prefix_tokens == 200 - 32
        long = Denoise(
            id=1,
            document="d",
            prefix="x = 1\n" * 500,
            segments=(Free(tokens=8), Clamped(text="y" * 300)),
        )
        engine.denoise(job(long), ignore)
        assert one.seen[0]["vllm_xargs"]["diffusion_canvas_length"] == 32
        assert len(one.seen[0]["prompt"]) <= 168
        wide = Denoise(id=1, document="d", prefix="", segments=(Free(tokens=33),))
        with pytest.raises(DenoiseFailed) as raised:
            engine.denoise(job(wide), ignore)
        assert raised.value.code is FailureCode.CONTEXT_TOO_LONG


def test_token_ids_of_older_answers(files: Path) -> None:
    one = server(files, says_token_ids=False)
    with serving(one), loaded(files, one) as engine:
        assert texts(engine) == ["a + b"]


@pytest.mark.parametrize("bad", [[float("nan")], [None], [float("-inf")], [3.0]])
def test_probabilities_that_are_none(files: Path, bad: list[Any]) -> None:
    one = server(files)
    plain = one.answer

    def answer(body: dict[str, Any], width: int) -> dict[str, Any]:
        made = plain(body, width)
        nats = made["choices"][0]["logprobs"]["token_logprobs"]
        nats[0] = None if bad[0] != bad[0] or bad[0] == float("-inf") else bad[0]
        return made

    one.answer = answer  # type: ignore[method-assign]
    with serving(one), loaded(files, one) as engine:
        (candidate,) = engine.denoise(job(), ignore).candidates
    assert 0 <= candidate.lowest <= 1
    assert candidate.score <= 0


def test_an_adapter_of_this_machine_cannot_travel(files: Path) -> None:
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        with pytest.raises(DenoiseFailed) as raised:
            engine.denoise(job(adapter="mine"), ignore)
        assert raised.value.code is FailureCode.ADAPTER_UNAVAILABLE
    assert not one.seen


# -- time -------------------------------------------------------------------------------------


def test_cancelling_hangs_up_on_the_server(files: Path) -> None:
    one = server(files, late_s=20.0)
    one.faults.append("late")
    with serving(one), loaded(files, one) as engine:
        running = job()
        threading.Timer(0.2, running.cancelled.set).start()
        before = time.monotonic()
        with pytest.raises(JobCancelled):
            engine.denoise(running, ignore)
        assert time.monotonic() - before < 2
        assert one.gave_up.wait(2), "the server works on for nobody"
        assert texts(engine) == ["a + b"]


def test_a_deadline(files: Path) -> None:
    one = server(files, late_s=20.0)
    one.faults += ["late"]
    with serving(one), loaded(files, one) as engine:
        with pytest.raises(DenoiseFailed) as raised:
            engine.denoise(job(deadline_ms=200), ignore)
        assert raised.value.code is FailureCode.DEADLINE
        assert one.gave_up.wait(2)
        # Whatever came in time is an answer.
        one.faults += ["late"]
        assert texts(engine, candidates=2, deadline_ms=1000) == ["a + b"]


# -- several jobs -----------------------------------------------------------------------------


def none_more(room: int) -> list[Job]:
    assert room >= 0
    return []


def test_jobs_are_sent_at_once_and_end_each_for_itself(files: Path) -> None:
    one = server(files, late_s=20.0)
    one.faults += ["late", "late"]
    never, cancelled, late = job(), job(peer=2), job(peer=3, deadline_ms=0)
    comes = [job(peer=4)]

    def more(room: int) -> list[Job]:
        assert room > 0
        return [comes.pop()] if comes and len(one.seen) == 2 else []

    (fine,) = comes
    with serving(one), loaded(files, one) as engine:
        ends = engine.denoise_together([never, cancelled, late], print, more)
        assert isinstance(ends, Generator)
        assert [next(ends)[0], next(ends)[0]] == [late, fine]
        cancelled.cancelled.set()
        ended, outcome = next(ends)
        assert ended is cancelled
        assert isinstance(outcome, JobCancelled)
        assert one.gave_up.wait(5), "the server works on for nobody"
        one.gave_up.clear()
        ends.close()  # the runtime ends
        assert one.gave_up.wait(5), "the server works on for nobody"
        assert texts(engine) == ["a + b"]


def test_a_job_joins_while_another_is_under_way(files: Path) -> None:
    one = server(files, late_s=20.0)
    one.faults += ["late"]
    first, bad = job(), job(adapter="a" * 32)
    comes = [bad, job()]
    with serving(one), loaded(files, one) as engine:

        def more(room: int) -> list[Job]:
            assert room >= engine.together - 1
            return [comes.pop(0)] if comes and one.seen else []

        waiting = list(comes)
        ends = engine.denoise_together([first], print, more)
        found = dict([next(ends), next(ends)])
        assert list(found) == waiting
        refused, answer = found.values()
        assert isinstance(refused, DenoiseFailed)
        assert refused.code is FailureCode.ADAPTER_UNAVAILABLE
        assert isinstance(answer, Answer)
        assert answer.candidates[0].texts == ("a + b",)
        first.cancelled.set()
        ((_, last),) = ends
        assert isinstance(last, JobCancelled)


def test_nobody_is_answered_before_load(files: Path) -> None:
    settings = RuntimeSettings(model="vllm:http://127.0.0.1:9", vllm_files=str(files))
    jobs = [job(), job()]
    ends = dict(make_engine(settings).denoise_together(jobs, print, none_more))
    assert list(ends) == jobs
    assert {type(outcome) for outcome in ends.values()} == {DenoiseFailed}


def test_a_server_that_never_answers(files: Path) -> None:
    one = server(files, late_s=20.0)
    with serving(one), loaded(files, one, vllm_timeout_s=1) as engine:
        one.faults.append("late")
        with pytest.raises(DenoiseFailed, match="has not answered for 1 s") as raised:
            engine.denoise(job(), ignore)
        assert raised.value.code is FailureCode.MODEL_UNAVAILABLE
        # It may still be at it: nothing is asked twice.
        assert len(one.seen) == 1


# -- failures of one request ------------------------------------------------------------------


@pytest.mark.parametrize("fault", [500, 502, 503, 504, 429, "drop", "half"])
def test_a_passing_failure_is_tried_again(files: Path, fault: int | str) -> None:
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        one.faults += [fault, fault]
        assert texts(engine) == ["a + b"]
        assert len(one.seen) == 3


def test_no_more_than_four_tries(files: Path) -> None:
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        one.faults += [500] * 10
        with pytest.raises(DenoiseFailed, match=r"is broken \(HTTP 500: the engine says no\)"):
            engine.denoise(job(), ignore)
        assert len(one.seen) == 4


def test_retries_have_a_budget(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "PAUSE_S", 0.0)
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        one.faults += [500] * 100
        for _ in range(20):
            with pytest.raises(DenoiseFailed):
                engine.denoise(job(), ignore)
        # Twenty requests, the ten retries in hand, and one for every five requests.
        assert 30 <= len(one.seen) <= 34
        one.faults.clear()
        assert texts(engine) == ["a + b"]


def test_retry_after_is_kept_to(files: Path) -> None:
    one = server(files, retry_after="1")
    with serving(one), loaded(files, one) as engine:
        one.faults.append(429)
        before = time.monotonic()
        assert texts(engine) == ["a + b"]
        assert 1.0 <= time.monotonic() - before < 3
        one.retry_after = "20"
        one.faults.append(429)
        before = time.monotonic()
        with pytest.raises(DenoiseFailed, match=r"is busy \(HTTP 429"):
            engine.denoise(job(), ignore)
        assert time.monotonic() - before < 1  # longer than anybody waits


def test_retry_after_as_a_date() -> None:
    from email.utils import formatdate

    assert pools._retry_after("7") == 7
    soon = pools._retry_after(formatdate(time.time() + 60, usegmt=True))
    assert soon is not None
    assert 50 < soon <= 60
    assert pools._retry_after(formatdate(time.time() - 60, usegmt=True)) == 0
    for nonsense in (None, "", "soon", "-3", "1.5", "Mon, 99 Foo 2026"):
        assert pools._retry_after(nonsense) is None


@pytest.mark.parametrize("fault", ["nonsense", "short"])
def test_an_answer_that_is_none(files: Path, fault: str) -> None:
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        one.faults.append(fault)
        with pytest.raises(DenoiseFailed) as raised:
            engine.denoise(job(), ignore)
        assert raised.value.code is FailureCode.ENGINE_FAULT


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, FailureCode.BAD_REQUEST),
        (422, FailureCode.BAD_REQUEST),
        (413, FailureCode.CONTEXT_TOO_LONG),
        (418, FailureCode.ENGINE_FAULT),
    ],
)
def test_a_refusal_is_not_tried_again(files: Path, status: int, code: FailureCode) -> None:
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        one.faults.append(status)
        with pytest.raises(DenoiseFailed, match="the engine says no") as raised:
            engine.denoise(job(), ignore)
        assert raised.value.code is code
        assert len(one.seen) == 1
        assert texts(engine) == ["a + b"]


def test_no_source_text_in_messages_or_logs(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        for fault in (500, 400, "drop", "nonsense", "short"):
            one.faults += [fault] * 4
            with pytest.raises(DenoiseFailed) as raised:
                engine.denoise(job(), ignore)
            assert "add" not in str(raised.value)
            one.faults.clear()
    assert "def add" not in caplog.text


# -- several servers --------------------------------------------------------------------------


def test_the_first_server_is_asked_while_it_works(files: Path) -> None:
    one, two = server(files), server(files)
    with serving(one, two), loaded(files, one, two) as engine:
        for _ in range(3):
            texts(engine)
        assert (len(one.seen), len(two.seen)) == (3, 0)
        one.faults.append(500)
        assert texts(engine) == ["a + b"]
        assert len(two.seen) == 1


def test_one_is_dead_from_the_start_and_comes_later(files: Path) -> None:
    one, two = server(files), server(files)
    with serving(one, two):
        port = one.server.server_port  # type: ignore[union-attr]
        url = one.url
        one.down()
        settings = RuntimeSettings(model=f"vllm:{url},{two.url}", vllm_files=str(files))
        engine = make_engine(settings)
        engine.load(ignore)
        assert [c.texts[0] for c in engine.denoise(job(), ignore).candidates] == ["a + b"]
        assert len(two.seen) == 1
        one.up(port)
        until = time.monotonic() + 10
        while not one.seen:
            assert time.monotonic() < until, "it is never asked again"
            two.faults.append("late")  # while one answers, the other is looked at
            engine.denoise(job(), ignore)
        assert "GET /health" in one.asked
        assert "POST /tokenize" in one.asked  # looked at like the other, before it got anything
        engine.unload()


def test_one_dies_between_two_requests(files: Path) -> None:
    one, two = server(files), server(files)
    with serving(one, two), loaded(files, one, two) as engine:
        texts(engine)
        one.down()
        assert texts(engine) == ["a + b"]
        assert len(two.seen) == 1
        two.down()
        with pytest.raises(DenoiseFailed, match="cannot be reached") as raised:
            engine.denoise(job(), ignore)
        assert one.url in str(raised.value)
        assert two.url in str(raised.value)


def test_one_that_comes_back_unfit_gets_nothing(files: Path) -> None:
    one, two = server(files), server(files)
    with serving(one, two):
        port = one.server.server_port  # type: ignore[union-attr]
        url = one.url
        one.down()
        settings = RuntimeSettings(model=f"vllm:{url},{two.url}", vllm_files=str(files))
        engine = make_engine(settings)
        engine.load(ignore)
        one.kind = "ignores"
        one.up(port)
        for _ in range(4):
            two.faults.append("late")
            engine.denoise(job(), ignore)
        assert [body for body in one.seen if body["max_tokens"] > 1] == []
        assert one.asked.count("POST /tokenize") == 0
        engine.unload()


def test_a_key_is_wrong_at_one_of_two(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(named.KEY_VARIABLE, "right")
    one, two = server(files, key="right"), server(files, key="right")
    with serving(one, two), loaded(files, one, two) as engine:
        one.key = "changed"
        assert texts(engine) == ["a + b"]
        assert texts(engine) == ["a + b"]
        assert one.asked.count("POST /v1/completions") == 2  # the probe, and the one it refused
        two.key = "changed"
        with pytest.raises(DenoiseFailed, match="refuses the key") as raised:
            engine.denoise(job(), ignore)
        assert raised.value.code is FailureCode.MODEL_UNAVAILABLE


# -- which servers fit ------------------------------------------------------------------------


def refused(files: Path, *servers: TinyVllm, **more: Any) -> str:
    with serving(*servers), pytest.raises(ModelError) as raised, loaded(files, *servers, **more):
        pass
    return str(raised.value)


def test_older_servers(files: Path) -> None:
    for kind in ("ignores", "scalars"):
        told = refused(files, server(files, kind=kind, version="0.31.0"))
        assert "vLLM 0.31.0" in told
        assert "needs vLLM 0.33 or later" in told


def test_a_canvas_that_was_not_named(files: Path) -> None:
    told = refused(files, server(files, canvas=None))
    assert """--diffusion-config '{"canvas_length": 64}'""" in told


def test_models(files: Path) -> None:
    two = server(files, model="a", others=("b",))
    assert "serves a, b; name one of them" in refused(files, two)
    with serving(two):
        settings = RuntimeSettings(model=f"vllm:{two.url}/v1/#b", vllm_files=str(files))
        engine = make_engine(settings)
        device = engine.load(ignore)
        assert device.name == "vllm"
        assert f"source text is sent to {two.url} (b, vLLM 0.33.0)" == device.reason
        engine.denoise(job(), ignore)
        assert two.seen[-1]["model"] == "b"
        engine.unload()
        with pytest.raises(ModelError, match="does not serve 'c'; it serves a, b"):
            make_engine(RuntimeSettings(model=f"vllm:{two.url}#c", vllm_files=str(files))).load(
                ignore
            )
    told = refused(files, server(files, model="x"), server(files, model="y"))
    assert "serve different models, x and y" in told


def test_a_model_that_is_gone_after_loading(files: Path) -> None:
    one = server(files)
    with serving(one), loaded(files, one) as engine:
        one.model = "another"
        with pytest.raises(DenoiseFailed, match="does not serve 'diffusiongemma'") as raised:
            engine.denoise(job(), ignore)
        assert raised.value.code is FailureCode.MODEL_UNAVAILABLE


def test_another_tokenizer(files: Path) -> None:
    one = server(files)
    plain = one.encode
    one.encode = lambda text: plain(text)[1:]
    assert "tokenises otherwise" in refused(files, one)
    one = server(files, tokenizes=False)
    with serving(one), loaded(files, one) as engine:
        assert texts(engine) == ["a + b"]


def test_keys(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(files, server(files, key="secret"))
    assert "refuses the key (HTTP 401)" in told
    assert named.KEY_VARIABLE in told
    monkeypatch.setenv(named.KEY_VARIABLE, "secret")
    one = server(files, key="secret")
    with serving(one), loaded(files, one) as engine:
        assert texts(engine) == ["a + b"]
    monkeypatch.setenv(named.KEY_VARIABLE, "wrong-secret")
    assert "wrong-secret" not in refused(files, server(files, key="secret"))


def test_a_key_of_the_keyring() -> None:
    servers = named.read_servers("vllm:https://a:1,https://b", allow_http=False)
    asked: list[tuple[str, str]] = []

    def lookup(service: str, name: str) -> str:
        asked.append((service, name))
        return "from the ring".replace(" ", "-")

    def locked(service: str, name: str) -> str:
        raise RuntimeError("locked")

    assert named.find_key(servers, {}, lookup) == "from-the-ring"
    assert asked == [("dgemma-vllm", "https://a:1")]
    assert named.find_key(servers, {named.KEY_VARIABLE: " env \n"}, lookup) == "env"
    assert named.find_key(servers, {}, lambda *_: None) is None
    assert named.find_key(servers, {}, locked) is None
    with pytest.raises(ModelError, match="no header can carry"):
        named.find_key(servers, {named.KEY_VARIABLE: "a\nb"})


def test_the_systems_keyring() -> None:
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    class Ring(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            return "ring" if (service, username) == ("dgemma-vllm", "https://a") else None

        def set_password(self, service: str, username: str, password: str) -> None: ...

        def delete_password(self, service: str, username: str) -> None: ...

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        assert named.find_key(named.read_servers("vllm:https://a", allow_http=False), {}) == "ring"
    finally:
        keyring.set_keyring(before)


def test_nothing_is_followed_elsewhere(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(named.KEY_VARIABLE, "secret")
    trap = server(files)
    one = server(files)
    with serving(trap):
        one.redirect = trap.url
        assert "sends elsewhere (HTTP 307)" in refused(files, one)
        one.redirect = ""
        with serving(one), loaded(files, one) as engine:
            one.redirect = trap.url
            with pytest.raises(DenoiseFailed, match="sends elsewhere"):
                engine.denoise(job(), ignore)
        # Nor does a proxy of the environment get anything.
        one.redirect = ""
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, trap.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with serving(one), loaded(files, one) as engine:
            assert texts(engine) == ["a + b"]
    assert trap.asked == []


# -- TLS --------------------------------------------------------------------------------------


def test_a_certificate_of_the_teams_own(files: Path, tmp_path: Path) -> None:
    authority, certificate = make_certificates(tmp_path)
    one = server(files)
    with serving(one, certificate=certificate):
        assert one.url.startswith("https://")
        with loaded(files, one, vllm_ca_file=str(authority)) as engine:
            assert texts(engine) == ["a + b"]
            assert texts(engine) == ["a + b"]
        with pytest.raises(ModelError) as raised, loaded(files, one):
            pass
        assert "a certificate that is not trusted" in str(raised.value)
        assert "vllmCaFile" in str(raised.value)
    assert {"POST /v1/completions"} == {line for line in one.asked if "completions" in line}


def test_a_certificate_of_another_name(files: Path, tmp_path: Path) -> None:
    authority, certificate = make_certificates(tmp_path, name="gpu.example.org")
    one = server(files)
    with (
        serving(one, certificate=certificate),
        pytest.raises(ModelError, match="not trusted"),
        loaded(files, one, vllm_ca_file=str(authority)),
    ):
        pass
    assert one.asked == []  # not a byte of a request


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none(files: Path, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with (
        pytest.raises(ModelError, match="cannot be used"),
        loaded(files, server(files).up(), vllm_ca_file=str(path)),
    ):
        pass


def test_http_where_https_was_named(files: Path) -> None:
    one = server(files)
    with serving(one):
        settings = RuntimeSettings(
            model="vllm:" + one.url.replace("http:", "https:"), vllm_files=str(files)
        )
        with pytest.raises(ModelError, match="cannot be reached"):
            make_engine(settings).load(ignore)


# -- what a person writes ---------------------------------------------------------------------


def test_addresses() -> None:
    read: Callable[..., named.Servers] = named.read_servers
    assert read("vllm:https://a:1/v1/, http://127.0.0.1:8000 #name", allow_http=False) == (
        named.Servers(("https://a:1", "http://127.0.0.1:8000"), "name")
    )
    assert read("vllm:https://a,https://a", allow_http=False).urls == ("https://a",)
    assert read("vllm:https://a/behind/a/proxy", allow_http=False).urls == (
        "https://a/behind/a/proxy",
    )
    assert read("vllm:http://gpu:8000", allow_http=True).urls == ("http://gpu:8000",)
    for bad in ("", "https://", "a:8000", "ftp://a", "https://a b", "https://a:x", "https://a?k=1"):
        with pytest.raises(ModelError, match="vllm:https://HOST:PORT"):
            read(f"vllm:{bad}", allow_http=True)
    with pytest.raises(ModelError, match=named.KEY_VARIABLE) as raised:
        read("vllm:https://me:hunter2@a", allow_http=False)
    assert "hunter2" not in str(raised.value)
    with pytest.raises(ModelError, match=r"ssh -N -L 8000:127\.0\.0\.1:8000 gpu"):
        read("vllm:http://gpu:8000", allow_http=False)


def test_files_that_are_missing(files: Path, tmp_path: Path) -> None:
    url = "vllm:https://a"
    with pytest.raises(ModelError, match="hf download"):
        make_engine(RuntimeSettings(model=url))
    with pytest.raises(ModelError, match=r"config\.json"):
        make_engine(RuntimeSettings(model=url, vllm_files=str(tmp_path)))
    engine = make_engine(RuntimeSettings(model=url, vllm_files=str(files)))
    assert engine.files()["tokenizer.json"] == str(files / "tokenizer.json")
    assert engine.files()["chat_template.jinja"] == "missing"
    engine.fetch(ignore)
    (files / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="lacks"):
        engine.fetch(ignore)


def test_nothing_is_asked_before_load(files: Path) -> None:
    one = server(files)
    with serving(one):
        engine = make_engine(RuntimeSettings(model=f"vllm:{one.url}", vllm_files=str(files)))
        assert engine.limits.canvas_tokens == CANVAS
        assert one.asked == []
        with pytest.raises(DenoiseFailed):
            engine.denoise(job(), ignore)
        engine.unload()
        engine.load(ignore)
        engine.load(ignore)  # again, as after an unload
        engine.unload()
        engine.unload()

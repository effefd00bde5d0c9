"""A real runtime process with a scripted engine: found, shared, cancelled, killed, restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
import pytest_asyncio
from support.runtimes import COMMAND, Scripted, ask

from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import PROTOCOL_VERSION, endpoint
from dgemma_wire.errors import (
    DenoiseFailed,
    FailureCode,
    ProtocolMismatch,
    RuntimeNotInstalled,
    RuntimeStartFailed,
    RuntimeUnavailable,
)
from dgemma_wire.messages import (
    Clamped,
    Done,
    Draft,
    Free,
    Kept,
    Piece,
    Renoise,
    RuntimeState,
    TokenState,
)

SLOW = {"when": "slow", "text": "done", "steps": 100, "step_ms": 20}
RULES = [SLOW, {"when": "one", "text": "1"}, {"when": "two", "text": "2"}]


@pytest_asyncio.fixture
async def scripted(run_dir: Path) -> AsyncIterator[Scripted]:
    one = Scripted(run_dir, rules=RULES)
    yield one
    await one.close()


async def until(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


async def test_started_on_demand_and_asked(scripted: Scripted) -> None:
    client = scripted.client()
    drafts: list[Draft] = []
    done = await client.denoise(ask("one", draft_every_ms=0), drafts.append)
    assert [c.texts for c in done.candidates] == [("1",)]
    assert [d.step for d in drafts] == [1, 2]
    assert drafts[-1].spans[0][0].state is TokenState.SETTLED
    states = [status.state for status in scripted.statuses]
    assert states[0] in (RuntimeState.UNLOADED, RuntimeState.LOADING)
    assert states[-1] is RuntimeState.READY


async def test_files_are_the_users_alone(scripted: Scripted) -> None:
    await scripted.client().welcome()
    modes = {
        path.suffix: stat.S_IMODE(path.stat().st_mode)
        for path in scripted.directory.iterdir()
        if path.name.startswith("scripted.")
    }
    assert set(modes) >= {".json", ".sock", ".lock", ".log"}
    assert {m & 0o077 for m in modes.values()} == {0}, modes
    assert stat.S_IMODE(scripted.directory.stat().st_mode) == 0o700


async def test_two_clients_share_one_runtime(scripted: Scripted) -> None:
    first, second = scripted.client(), scripted.client()
    one, two = await asyncio.gather(first.welcome(), second.welcome())
    assert one.pid == two.pid
    answers = await asyncio.gather(first.denoise(ask("one")), second.denoise(ask("two")))
    assert [a.candidates[0].texts[0] for a in answers] == ["1", "2"]


async def test_survives_its_starter_and_is_found_again(scripted: Scripted) -> None:
    first = scripted.client()
    pid = (await first.welcome()).pid
    await first.close()
    assert (await scripted.client(command=("/nowhere",)).welcome()).pid == pid


async def test_cancel_frees_the_device_within_a_step(scripted: Scripted) -> None:
    client = scripted.client()
    task = asyncio.create_task(client.denoise(ask("slow", "a", draft_every_ms=0)))
    await until(lambda: scripted.statuses and scripted.statuses[-1].state is RuntimeState.READY)
    await asyncio.sleep(0.1)
    task.cancel()
    began = time.monotonic()
    await client.denoise(ask("one", "b"))
    # 100 steps of 20 ms would be two seconds; a generous second proves it did not wait for them.
    assert time.monotonic() - began < 1.0
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_newest_request_of_a_document_wins(scripted: Scripted) -> None:
    client = scripted.client()
    await client.denoise(ask("one", "warm"))
    tasks = [asyncio.create_task(client.denoise(ask("slow", "same"))) for _ in range(4)]
    last = asyncio.create_task(client.denoise(ask("one", "same")))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [r.code for r in results if isinstance(r, DenoiseFailed)] == [FailureCode.SUPERSEDED] * 4
    assert (await last).candidates[0].texts == ("1",)


MENDED = {
    "when": "mend",
    "text": "f(a, b",
    "probabilities": {"f(a, b": [0.9, 0.8, 0.7]},
    "tokens": "words",
    "renoise": ["f(a))", ["f(a, b)", "f()"]],
}


def again(draft: int, *pieces: Piece, **more: object) -> Renoise:
    spans = (pieces or (Kept(start=0, end=1), Free(tokens=1)),)
    return Renoise(document="d", draft=draft, spans=spans, **more)  # type: ignore[arg-type]


async def test_a_draft_is_gone_on_from_round_by_round(scripted: Scripted) -> None:
    scripted.write(rules=[MENDED])
    client = scripted.client()
    (first,) = (await client.denoise(ask("mend"))).candidates
    assert [t.chars for t in first.tokens[0]] == [1, 1, 1, 1, 2]
    assert [t.probability for t in first.tokens[0]] == [0.9, 0.8, 0.7, 0.9, 0.9]
    assert {t.doubt for t in first.tokens[0]} == {None}
    drafts: list[Draft] = []
    pieces = (Kept(start=0, end=3), Free(tokens=1), Clamped(text=")"))
    done = await client.renoise(again(first.draft, *pieces, draft_every_ms=0), drafts.append)
    (second,) = done.candidates
    assert second.texts == ("f(a))",)
    assert len(drafts) == len(done.timings.step_ms) == 2
    asked = again(second.draft, candidates=2, doubt=True)
    third, other = (await client.renoise(asked)).candidates
    assert (third.texts, other.texts) == (("f(a, b)",), ("f()",))
    assert {t.doubt for t in third.tokens[0]} == {-2.0}
    last = (await client.renoise(again(other.draft))).candidates[0]  # rounds are used up
    assert last.texts == ("f(a, b)",)
    (repeated,) = (await client.renoise(again(first.draft))).candidates
    assert repeated.texts == second.texts


async def test_another_connection_knows_nothing_of_a_draft(scripted: Scripted) -> None:
    client, other = scripted.client(), scripted.client()
    draft = (await client.denoise(ask("one"))).candidates[0].draft
    for asking in (other.renoise(again(draft)), client.renoise(again(draft + 5))):
        with pytest.raises(DenoiseFailed, match="no draft") as caught:
            await asking
        assert caught.value.code is FailureCode.DRAFT_GONE
    with pytest.raises(DenoiseFailed, match="`tokens`") as caught:
        await client.renoise(again(draft, Free()))
    assert caught.value.code is FailureCode.BAD_REQUEST
    assert (await client.renoise(again(draft))).candidates[0].texts == ("1",)


async def test_a_rule_may_lose_its_drafts(scripted: Scripted) -> None:
    scripted.write(rules=[MENDED | {"draft_gone": True}])
    client = scripted.client()
    draft = (await client.denoise(ask("mend"))).candidates[0].draft
    assert draft > 0
    with pytest.raises(DenoiseFailed) as caught:
        await client.renoise(again(draft))
    assert caught.value.code is FailureCode.DRAFT_GONE


async def test_going_on_is_superseded_cancelled_and_late_as_asking_is(scripted: Scripted) -> None:
    scripted.write(rules=[MENDED | {"steps": 20, "step_ms": 15}, *RULES])
    client = scripted.client()
    draft = (await client.denoise(ask("mend"))).candidates[0].draft
    older = asyncio.create_task(client.renoise(again(draft)))
    await asyncio.sleep(0.05)
    newer = asyncio.create_task(client.denoise(ask("one")))
    with pytest.raises(DenoiseFailed) as caught:
        await older
    assert caught.value.code is FailureCode.SUPERSEDED
    assert (await newer).candidates[0].texts == ("1",)
    running = asyncio.create_task(client.renoise(again(draft)))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    began = time.monotonic()
    blocking = asyncio.create_task(client.denoise(ask("mend", document="other")))
    await asyncio.sleep(0.05)
    with pytest.raises(DenoiseFailed) as caught:
        await client.renoise(again(draft, deadline_ms=1))
    assert caught.value.code is FailureCode.DEADLINE
    await blocking
    assert time.monotonic() - began < 5


async def test_killed_in_the_middle_and_started_again(scripted: Scripted) -> None:
    client = scripted.client()
    task = asyncio.create_task(client.denoise(ask("slow")))
    await until(lambda: scripted.statuses and scripted.statuses[-1].state is RuntimeState.READY)
    await asyncio.sleep(0.1)
    old = scripted.endpoint
    assert old is not None
    os.kill(old.pid, signal.SIGKILL)
    with pytest.raises(RuntimeUnavailable, match="lost"):
        await task
    assert (await client.denoise(ask("one"))).candidates[0].texts == ("1",)
    assert scripted.endpoint is not None
    assert scripted.endpoint.pid != old.pid


async def test_never_two_at_once(scripted: Scripted) -> None:
    await scripted.client().welcome()
    again = await asyncio.to_thread(
        subprocess.run, [*COMMAND, "--model", "scripted"], capture_output=True, timeout=20
    )
    assert again.returncode == 3


async def test_leftovers_of_a_dead_runtime_do_not_hinder(scripted: Scripted) -> None:
    path = endpoint.endpoint_path(scripted.directory, "scripted")
    sock = endpoint.socket_path(scripted.directory, "scripted")
    endpoint.lock_path(scripted.directory, "scripted").touch()
    sock.touch()
    endpoint.write_endpoint(
        path, endpoint.Endpoint(token="old", pid=2**22, release="0", path=str(sock))
    )
    assert (await scripted.client().denoise(ask("one"))).candidates[0].texts == ("1",)


async def test_a_dead_runtimes_token_is_not_the_last_word(scripted: Scripted) -> None:
    """The endpoint file may be read just before the new runtime replaces it."""
    await scripted.client().welcome()
    path = endpoint.endpoint_path(scripted.directory, "scripted")
    right = path.read_bytes()
    one = scripted.endpoint
    assert one is not None
    endpoint.write_endpoint(
        path, endpoint.Endpoint(token="of the dead", pid=1, release="0", path=one.path)
    )
    late = asyncio.create_task(scripted.client().welcome())
    await asyncio.sleep(0.03)
    path.write_bytes(right)
    assert (await late).pid == one.pid


async def test_unloads_and_ends_when_idle(scripted: Scripted) -> None:
    client = scripted.client(idle_unload_s=1, idle_exit_s=1)
    await client.denoise(ask("one"))
    await until(lambda: scripted.statuses[-1].state is RuntimeState.UNLOADED, 6)
    assert (await client.denoise(ask("one"))).candidates  # loaded again
    pid = (await client.welcome()).pid
    await client.close()
    await until(lambda: scripted.endpoint is None, 6)
    await until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 6)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def test_a_deadline_in_the_queue(scripted: Scripted) -> None:
    client = scripted.client()
    await client.denoise(ask("one"))
    busy = asyncio.create_task(client.denoise(ask("slow", "a")))
    await asyncio.sleep(0.1)
    late = asyncio.create_task(client.denoise(ask("one", "b", deadline_ms=50)))
    await asyncio.sleep(0.1)
    busy.cancel()
    with pytest.raises(DenoiseFailed, match="deadline"):
        await late


async def test_an_engine_fault_answers_without_source_text(scripted: Scripted) -> None:
    scripted.write(rules=[{"when": "hunter2", "raise": True}, *RULES])
    client = scripted.client()
    with pytest.raises(DenoiseFailed) as caught:
        await client.denoise(ask("password = hunter2"))
    assert caught.value.code is FailureCode.ENGINE_FAULT
    assert "hunter2" not in str(caught.value)
    assert (await client.denoise(ask("one"))).candidates


async def test_a_model_that_does_not_load_says_why(scripted: Scripted) -> None:
    scripted.write(load_error="model.safetensors is cut short: fetch it again")
    client = scripted.client()
    with pytest.raises(DenoiseFailed, match="cut short") as caught:
        await client.denoise(ask("one"))
    assert caught.value.code is FailureCode.MODEL_UNAVAILABLE
    with pytest.raises(DenoiseFailed, match="cut short"):
        await client.denoise(ask("one"))


async def test_stop(scripted: Scripted) -> None:
    client = scripted.client()
    assert not await client.stop_runtime()
    slow = asyncio.create_task(client.denoise(ask("slow")))
    await until(lambda: scripted.statuses and scripted.statuses[-1].state is RuntimeState.READY)
    assert await client.stop_runtime()
    with pytest.raises((DenoiseFailed, RuntimeUnavailable)):
        await slow
    await until(lambda: scripted.endpoint is None)


async def test_loopback_tcp_needs_the_token(scripted: Scripted) -> None:
    client = scripted.client(command=(*COMMAND, "--transport", "tcp"))
    assert (await client.denoise(ask("one"))).candidates
    one = scripted.endpoint
    assert one is not None
    assert one.host == "127.0.0.1"
    reader, writer = await asyncio.open_connection(one.host, one.port)
    body = msgpack.packb({"type": "hello", "protocol": 1, "release": "x", "token": "guess"})
    writer.write(struct.pack(">I", len(body)) + body)
    answer = msgpack.unpackb((await reader.read())[4:])
    assert answer["type"] == "refused"
    assert "token" in answer["reason"]
    assert one.token not in str(answer)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 2**31) + b"x" * 100,
        struct.pack(">I", 20) + b"x" * 5,
        b"",
        struct.pack(">I", 4) + b"\xff\xff\xff\xff",
    ],
)
async def test_a_stranger_is_hung_up_on_and_others_served(scripted: Scripted, raw: bytes) -> None:
    client = scripted.client()
    await client.welcome()
    one = scripted.endpoint
    assert one is not None
    reader, writer = await asyncio.open_unix_connection(one.path)
    writer.write(raw)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert (await client.denoise(ask("one"))).candidates


async def test_version_mismatch_names_both(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scripted.client().welcome()
    import dgemma_lsp.runtime_client.client as module

    monkeypatch.setattr(module, "PROTOCOL_VERSION", 99)
    with pytest.raises(ProtocolMismatch, match=rf"protocol {PROTOCOL_VERSION}.*protocol 99"):
        await scripted.client().welcome()


async def test_what_is_no_runtime_is_told(scripted: Scripted) -> None:
    async def gibberish(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-nothing of ours\r\n" * 4)
        await writer.drain()
        writer.close()

    sock = endpoint.socket_path(scripted.directory, "scripted")
    other = await asyncio.start_unix_server(gibberish, sock)
    endpoint.write_endpoint(
        endpoint.endpoint_path(scripted.directory, "scripted"),
        endpoint.Endpoint(token="t", pid=1, release="0", path=str(sock)),
    )
    with pytest.raises(RuntimeStartFailed, match="no dgemma runtime"):
        await scripted.client().welcome()
    other.close()
    endpoint.endpoint_path(scripted.directory, "scripted").unlink()


async def test_a_start_that_fails_shows_what_it_said(scripted: Scripted) -> None:
    broken = scripted.client(command=(sys.executable, "-c", "raise SystemExit('no disk left')"))
    with pytest.raises(RuntimeStartFailed, match="no disk left"):
        await broken.welcome()
    with pytest.raises(RuntimeStartFailed, match="cannot be started"):
        await scripted.client(command=("/nowhere/dgemma-runtime",)).welcome()


async def test_not_installed_says_the_command(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeNotInstalled, match=r"pip install 'dgemma\[runtime\]'"):
        await scripted.client(command=()).welcome()


async def test_a_peer_that_leaves_frees_the_device(scripted: Scripted) -> None:
    gone, stays = scripted.client(), scripted.client()
    task = asyncio.create_task(gone.denoise(ask("slow")))
    await until(lambda: scripted.statuses and scripted.statuses[-1].state is RuntimeState.READY)
    await stays.welcome()
    await gone.close()
    with pytest.raises(RuntimeUnavailable):
        await task
    began = time.monotonic()
    await stays.denoise(ask("one"))
    assert time.monotonic() - began < 1.0


ENDLESS = {"when": "endless", "text": "never", "steps": 10**9}
TOGETHER = {"together": 3, "rules": [ENDLESS, {"when": "dies", "dies": True}, *RULES]}


async def under_way(
    client: RuntimeClient, prefix: str, document: str = "d"
) -> tuple[asyncio.Task[Done], list[Draft]]:
    """A request that has been drafted, so that it is on the device."""
    drafts: list[Draft] = []
    asking = client.denoise(ask(prefix, document, draft_every_ms=0), drafts.append)
    task = asyncio.create_task(asking)
    await until(lambda: drafts, 20)
    return task, drafts


async def until_queued(client: RuntimeClient, number: int) -> None:
    end = time.monotonic() + 20
    while (status := await client.status()) is None or status.queued != number:
        assert time.monotonic() < end, "waited in vain"


async def test_two_peers_at_once_and_one_cancels(scripted: Scripted) -> None:
    scripted.write(**TOGETHER)
    leaves, stays = scripted.client(), scripted.client()
    left, _ = await under_way(leaves, "endless")
    other, drafts = await under_way(stays, "endless")  # the first never ends, yet this one is on
    assert (await leaves.denoise(ask("one", "other"))).candidates[0].texts == ("1",)
    await until_queued(stays, 0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    seen = len(drafts)
    await until(lambda: len(drafts) > seen + 2, 20)
    newer = asyncio.create_task(stays.denoise(ask("two")))
    with pytest.raises(DenoiseFailed) as caught:
        await other
    assert caught.value.code is FailureCode.SUPERSEDED
    assert (await newer).candidates[0].texts == ("2",)


async def test_a_peer_that_leaves_takes_nobody_along(scripted: Scripted) -> None:
    scripted.write(**TOGETHER | {"together": 2})
    gone, stays, waits = (scripted.client() for _ in range(3))
    left, _ = await under_way(gone, "endless")
    other, _ = await under_way(stays, "endless")
    waiting = asyncio.create_task(waits.denoise(ask("one")))
    await until_queued(stays, 1)
    await gone.close()
    with pytest.raises(RuntimeUnavailable):
        await left
    assert (await waiting).candidates[0].texts == ("1",)  # in the room that it left
    assert not other.done()
    other.cancel()


async def test_an_engine_that_dies_answers_all_that_are_under_way(scripted: Scripted) -> None:
    scripted.write(**TOGETHER)
    one, two = scripted.client(), scripted.client()
    first, _ = await under_way(one, "endless")
    second, _ = await under_way(two, "endless")
    with pytest.raises(DenoiseFailed) as caught:
        await one.denoise(ask("dies: hunter2", "other"))
    failures = [caught.value, *await asyncio.gather(first, second, return_exceptions=True)]
    for failure in failures:
        assert isinstance(failure, DenoiseFailed)
        assert failure.code is FailureCode.ENGINE_FAULT
        assert "hunter2" not in str(failure)
    assert (await two.denoise(ask("one"))).candidates[0].texts == ("1",)


async def test_stopping_answers_all_that_are_under_way(scripted: Scripted) -> None:
    scripted.write(**TOGETHER)
    one, two = scripted.client(), scripted.client()
    first, _ = await under_way(one, "endless")
    second, _ = await under_way(two, "endless")
    assert await one.stop_runtime()
    for failure in await asyncio.gather(first, second, return_exceptions=True):
        assert isinstance(failure, DenoiseFailed | RuntimeUnavailable)
    await until(lambda: scripted.endpoint is None, 20)


async def test_what_comes_while_the_model_is_unloaded_is_answered(scripted: Scripted) -> None:
    scripted.write(rules=RULES, unload_ms=1500)
    client = scripted.client(idle_unload_s=1)
    await client.denoise(ask("one"))
    await asyncio.sleep(1.6)
    assert (await client.denoise(ask("two"))).candidates[0].texts == ("2",)
    assert RuntimeState.UNLOADED in [status.state for status in scripted.statuses[1:]]

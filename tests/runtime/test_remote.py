"""A runtime at an address that a person gave: through a forward that fails in every way."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.afar import TOKEN, Afar, running_afar
from support.forward import Forward, forwarding
from support.runtimes import COMMAND, ask

from dgemma_lsp.runtime_client import silence
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.runtime_client.remote import Remote
from dgemma_wire import PROTOCOL_VERSION
from dgemma_wire.errors import ProtocolMismatch, RuntimeUnavailable
from dgemma_wire.messages import RefusalCode, Refused, Welcome
from dgemma_wire.settings import RuntimeSettings

RULES = [
    {"when": "slow", "text": "done", "steps": 100, "step_ms": 20},
    {"when": "one", "text": "1"},
]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The other machine's folder, and a token that this one's environment does not know."""
    monkeypatch.delenv("DGEMMA_TOKEN", raising=False)
    with tempfile.TemporaryDirectory(prefix="dg-") as name:
        Path(name).chmod(0o700)
        yield Path(name)


@pytest_asyncio.fixture
async def afar(elsewhere: Path, tmp_path: Path) -> AsyncIterator[Afar]:
    async with running_afar(elsewhere, tmp_path, rules=RULES) as one:
        yield one


@pytest_asyncio.fixture
async def forward(afar: Afar) -> AsyncIterator[Forward]:
    async with forwarding(afar.target) as one:
        yield one


@pytest_asyncio.fixture
async def client(afar: Afar, forward: Forward) -> AsyncIterator[RuntimeClient]:
    one = client_at(f"tcp://127.0.0.1:{forward.port}", afar)
    yield one
    await one.close()


def client_at(address: str, afar: Afar, **more: Any) -> RuntimeClient:
    return RuntimeClient(
        RuntimeSettings(model="scripted"),
        ("/nowhere/dgemma-runtime",),
        None,
        release="test",
        name="a test",
        remote=Remote(address, str(afar.token_file), **more),
    )


async def test_asked_through_a_forward(client: RuntimeClient, afar: Afar) -> None:
    drafts: list[object] = []
    done = await client.denoise(ask("one", draft_every_ms=0), drafts.append)
    assert [c.texts for c in done.candidates] == [("1",)]
    assert len(drafts) == 2
    assert afar.process is not None
    assert (await client.welcome()).pid == afar.process.pid


async def test_through_a_unix_socket(elsewhere: Path, tmp_path: Path) -> None:
    listen = f"unix://{elsewhere}/here.sock"
    async with running_afar(elsewhere, tmp_path, listen=listen, rules=RULES) as afar:
        mode = (elsewhere / "here.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        near = elsewhere / "near.sock"
        async with forwarding(elsewhere / "here.sock", path=near):
            client = client_at(f"unix://{near}", afar)
            done = await client.denoise(ask("one"))
            assert done.candidates[0].texts == ("1",)
            await client.close()


async def test_nothing_listens(client: RuntimeClient, forward: Forward) -> None:
    await forward.down()
    with pytest.raises(RuntimeUnavailable) as raised:
        await client.denoise(ask("one"))
    told = str(raised.value)
    assert f"Nothing answers at tcp://127.0.0.1:{forward.port}" in told
    assert f"ssh -N -o ExitOnForwardFailure=yes -L {forward.port}:127.0.0.1:{forward.port}" in told
    with pytest.raises(RuntimeUnavailable):
        await client.status()
    await forward.up()
    assert (await client.denoise(ask("one"))).candidates[0].texts == ("1",)


async def test_a_forward_with_nobody_behind_it(client: RuntimeClient, afar: Afar) -> None:
    afar.kill()
    with pytest.raises(RuntimeUnavailable, match="no runtime answers at its other end"):
        await client.denoise(ask("one"))


@pytest.mark.parametrize("way", ["cut", "half_close"])
async def test_it_breaks_in_the_middle_of_a_request(
    client: RuntimeClient, forward: Forward, way: str
) -> None:
    began: asyncio.Event = asyncio.Event()
    asked = client.denoise(ask("slow", draft_every_ms=0), lambda _: began.set())
    task = asyncio.create_task(asked)
    await asyncio.wait_for(began.wait(), 10)
    getattr(forward, way)()
    with pytest.raises(RuntimeUnavailable, match=r"connection to the runtime was lost.*forward"):
        await asyncio.wait_for(task, 5)
    assert not client.connected
    # The device is free again: the runtime has noticed as well.
    before = time.monotonic()
    assert (await client.denoise(ask("one"))).candidates[0].texts == ("1",)
    assert time.monotonic() - before < 1.5


async def test_a_dead_line_ends_in_words(
    client: RuntimeClient, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "PROBE_S", 0.1)
    monkeypatch.setattr(silence, "SILENT_S", 0.5)
    await client.welcome()
    forward.stall()
    with pytest.raises(RuntimeUnavailable, match="nothing has come from it"):
        await asyncio.wait_for(client.denoise(ask("one")), 5)
    forward.resume()
    assert (await client.denoise(ask("one"))).candidates[0].texts == ("1",)


async def test_a_long_request_is_no_dead_line(
    client: RuntimeClient, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No drafts come, but the runtime answers when it is asked whether it lives."""
    monkeypatch.setattr(silence, "PROBE_S", 0.1)
    monkeypatch.setattr(silence, "SILENT_S", 0.5)
    forward.delay_s = 0.05
    done = await asyncio.wait_for(client.denoise(ask("slow")), 20)
    assert done.candidates[0].texts == ("done",)
    assert forward.connections == 1


async def test_a_slow_line_adds_its_latency_and_nothing_else(
    client: RuntimeClient, forward: Forward
) -> None:
    await client.denoise(ask("one"))
    forward.delay_s = 0.1
    before = time.monotonic()
    done = await client.denoise(ask("one"))
    took = time.monotonic() - before
    assert done.candidates[0].texts == ("1",)
    assert 0.2 <= took < 1.0  # there and back again, once
    assert done.timings.total_ms < 100


async def test_cancelling_frees_the_device_afar(client: RuntimeClient, forward: Forward) -> None:
    began = asyncio.Event()
    asked = client.denoise(ask("slow", "a", draft_every_ms=0), lambda _: began.set())
    task = asyncio.create_task(asked)
    await asyncio.wait_for(began.wait(), 10)
    task.cancel()
    before = time.monotonic()
    await client.denoise(ask("one", "b"))
    assert time.monotonic() - before < 1.0


async def test_a_wrong_token(client: RuntimeClient, afar: Afar, forward: Forward) -> None:
    afar.write_token("x" * 40)
    with pytest.raises(RuntimeUnavailable) as raised:
        await client.denoise(ask("one"))
    assert "has another token than" in str(raised.value)
    assert str(afar.token_file) in str(raised.value)
    assert "x" * 40 not in str(raised.value)
    assert forward.connections == 1  # not tried again and again
    afar.write_token(TOKEN)
    assert (await client.denoise(ask("one"))).candidates[0].texts == ("1",)


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
async def test_a_token_that_others_can_read_is_not_sent(
    client: RuntimeClient, afar: Afar, forward: Forward
) -> None:
    afar.token_file.chmod(0o644)
    with pytest.raises(RuntimeUnavailable, match="chmod 600"):
        await client.denoise(ask("one"))
    assert forward.connections == 0


async def test_another_protocol_version(
    client: RuntimeClient, afar: Afar, forward: Forward
) -> None:
    """What an older or newer release at the other end says."""
    from dgemma_wire import Connection, Role

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = Connection(Role.RUNTIME)
        protocol.receive(await reader.read(65536))
        refused = Refused(
            code=RefusalCode.PROTOCOL,
            reason="Protocol 4 is not spoken here.",
            protocol=PROTOCOL_VERSION + 1,
            release="9.9",
            pid=1,
        )
        writer.write(protocol.send(refused))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    forward.target = server.sockets[0].getsockname()[:2]
    with pytest.raises(ProtocolMismatch) as raised:
        await client.denoise(ask("one"))
    assert "9.9" in str(raised.value)
    assert "Install the same version of dgemma on both machines" in str(raised.value)
    server.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.7\r\n"])
async def test_another_program_listens_there(
    client: RuntimeClient, forward: Forward, said: bytes
) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    forward.target = server.sockets[0].getsockname()[:2]
    with pytest.raises(RuntimeUnavailable, match=r"is no dgemma runtime|hung up"):
        await client.denoise(ask("one"))
    server.close()


@pytest.mark.parametrize("address", ["tcp://10.255.255.1:7777", "gpu-host:7777", "0.0.0.0:7777"])
async def test_other_machines_are_refused_before_anything_is_sent(afar: Afar, address: str) -> None:
    client = client_at(address, afar)
    with pytest.raises(RuntimeUnavailable) as raised:
        await client.denoise(ask("one"))
    assert "ssh -N" in str(raised.value)
    assert "dgemma.runtimeAllowUnencrypted" in str(raised.value)


async def test_another_machine_may_be_allowed(afar: Afar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not loopback by its looks, and leads here in this test."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def named(host: Any, port: Any, **more: Any) -> Any:
        return await real("127.0.0.1" if host == "gpu-host" else host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", named)
    assert isinstance(afar.target, tuple)
    client = client_at(f"gpu-host:{afar.target[1]}", afar, allow_unencrypted=True)
    assert isinstance(await client.welcome(), Welcome)
    await client.close()


async def test_a_socket_of_somebody_else_gets_no_token(afar: Afar, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no socket")
    with pytest.raises(RuntimeUnavailable, match="not a socket of your own"):
        await client_at(f"unix://{plain}", afar).denoise(ask("one"))
    with pytest.raises(RuntimeUnavailable, match="Is the forward up"):
        await client_at(f"unix://{tmp_path / 'none'}", afar).denoise(ask("one"))


async def test_stopping_a_remote_runtime(client: RuntimeClient, afar: Afar) -> None:
    assert await client.stop_runtime()
    assert afar.process is not None
    assert afar.process.wait(10) == 0


def test_the_listeners_own_refusals(elsewhere: Path, tmp_path: Path) -> None:
    """What a person sees who starts it by hand."""
    script = tmp_path / "script.json"
    script.write_text("{}")
    taken = socket.create_server(("127.0.0.1", 0))
    plain = elsewhere / "plain"
    plain.write_text("keep me")
    port = taken.getsockname()[1]

    def told(*flags: str) -> str:
        ran = subprocess.run(
            [*COMMAND, "--model", "scripted", *flags],
            env={
                **os.environ,
                "DGEMMA_RUNTIME_DIR": str(elsewhere),
                "DGEMMA_TEST_SCRIPT": str(script),
                "DGEMMA_TOKEN": TOKEN,
            },
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert ran.returncode != 0
        return ran.stderr

    assert "ssh -N" in told("--listen", "0.0.0.0:7777")
    assert "--allow-unencrypted" in told("--listen", "0.0.0.0:7777")
    assert "cannot be listened at" in told("--listen", f"127.0.0.1:{port}")
    assert "is no socket; it is left alone" in told("--listen", f"unix://{plain}")
    assert plain.read_text() == "keep me"
    assert "not of the form" in told("--listen", "7777")
    taken.close()


async def test_a_socket_left_behind_makes_room(elsewhere: Path, tmp_path: Path) -> None:
    left = elsewhere / "left.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    async with running_afar(elsewhere, tmp_path, listen=f"unix://{left}", rules=RULES) as afar:
        client = client_at(f"unix://{left}", afar)
        assert (await client.denoise(ask("one"))).candidates[0].texts == ("1",)
        await client.close()

"""The servers as one: which of them is asked, what is tried again, and what a failure is called.

A completion keeps nothing on the server and asking again changes nothing, so it may be tried again;
but only where the server has not taken it up, says that it is busy, or broke, and only as far as a
budget goes: retries of a busy team must not become its load. Knows HTTP, and nothing of canvases.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from dgemma_runtime.remote.contract import read_refusal
from dgemma_runtime.remote.servers import KEY_VARIABLE, Servers
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError

log = logging.getLogger(__name__)

CONNECT_S = 5.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""A canvas of 256 positions takes about 30 KB."""

TRIES = 4
PAUSE_S = 0.1
"""Before the first retry; doubled for every other, and half of it drawn at random."""
MAX_PAUSE_S = 30.0
"""No server is left alone for longer, whatever it asks for."""
LONGEST_WAIT_S = 5.0
"""A request waits this long at most for a server that is to be left alone."""

BUDGET = 10.0
BUDGET_SHARE = 0.2
"""Retries in hand at most, and what every request adds to them."""

BUSY = frozenset({429, 503})
BROKEN = frozenset({500, 502, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    status: int
    body: bytes


@dataclass(slots=True)
class Server:
    """One server, as far as it is known.

    Attributes:
        url: Its base address.
        failures: How often in a row it has failed.
        down_until: When it is asked again, by the loop's clock.
        problem: What the last failure was.
        barred: Why it is not asked any more, such as a wrong key; empty while it is.
        greeted: It has been found to fit; see ``greeting``.
    """

    url: str
    failures: int = 0
    down_until: float = 0.0
    problem: str = ""
    barred: str = ""
    greeted: bool = False


class Unanswered(Exception):
    """A server gave no answer that counts.

    Attributes:
        pause_s: How long it wants to be left alone; ``None`` when it did not say.
        again: The request may be made again; not where the server may still be at it.
    """

    def __init__(self, message: str, *, pause_s: float | None = None, again: bool = True) -> None:
        super().__init__(message)
        self.pause_s = pause_s
        self.again = again


class Unfit(Exception):
    """A server that is not what is needed, and about which a person must do something."""


@dataclass(slots=True)
class _Budget:
    tokens: float = BUDGET

    def earn(self) -> None:
        self.tokens = min(BUDGET, self.tokens + BUDGET_SHARE)

    def spend(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Pool:
    """The servers of one engine. All calls come from one event loop.

    Attributes:
        servers: What the person named.
        client: Made by ``open_client``.
        timeout_s: What one answer may take.
        draw: Uniform numbers from 0 to 1, for pauses.
        admit: Looks at a server that was not there in the beginning; raises ``Unfit``.
    """

    servers: Servers
    client: httpx2.AsyncClient
    timeout_s: float
    draw: Callable[[], float] = random.random
    admit: Callable[[Server], Awaitable[None]] | None = None
    states: list[Server] = field(init=False)
    _budget: _Budget = field(init=False, default_factory=_Budget)

    def __post_init__(self) -> None:
        self.states = [Server(url) for url in self.servers.urls]

    async def request(
        self, server: Server, method: str, path: str, body: dict[str, Any] | None = None
    ) -> Reply:
        """Ask one server once.

        Raises:
            Unanswered: It cannot be reached, is busy, or broke.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._request(server, method, path, body)
        except TimeoutError as err:
            raise Unanswered(
                f"{server.url} has not answered for {self.timeout_s:.0f} s", again=False
            ) from err
        except httpx2.ConnectTimeout as err:
            raise Unanswered(f"{server.url} does not take the connection") from err
        except httpx2.ConnectError as err:
            raise Unanswered(_why_not_connected(server.url, err)) from err
        except httpx2.HTTPError as err:
            raise Unanswered(f"{server.url} broke the connection ({type(err).__name__})") from err

    async def _request(
        self, server: Server, method: str, path: str, body: dict[str, Any] | None
    ) -> Reply:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"content-type": "application/json"}
        async with self.client.stream(
            method, server.url + path, content=content, headers=headers
        ) as response:
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > MAX_ANSWER_BYTES:
                    raise Unanswered(f"{server.url} answers with over {MAX_ANSWER_BYTES} bytes")
        status = response.status_code
        if status in BUSY or status in BROKEN:
            busy = status in BUSY
            told = read_refusal(bytes(read))
            raise Unanswered(
                f"{server.url} is {'busy' if busy else 'broken'} (HTTP {status}"
                f"{': ' + told if told else ''})",
                pause_s=_retry_after(response.headers.get("retry-after")),
            )
        return Reply(status, bytes(read))

    async def complete(self, body: dict[str, Any]) -> bytes:
        """Have a completion made by the first server that can.

        Returns:
            The body of the answer.

        Raises:
            DenoiseFailed: None can, or the request is refused.
        """
        self._budget.earn()
        checks = [
            asyncio.create_task(self.healthy(server))
            for server in self._due()
            if self._first_well() is not None
        ]
        try:
            return await self._complete(body)
        finally:
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)

    async def _complete(self, body: dict[str, Any]) -> bytes:
        failures: dict[str, str] = {}
        for attempt in range(TRIES):
            if attempt and not self._budget.spend():
                log.warning("the budget for retries is used up")
                break
            server = self._first_well() or min(
                self._open(), key=lambda one: one.down_until, default=None
            )
            if server is None:
                break
            pause = server.down_until - asyncio.get_running_loop().time()
            if pause > LONGEST_WAIT_S:
                break
            try:
                await asyncio.sleep(max(0.0, pause))
                if not server.greeted:
                    await self._admit(server)
                reply = await self.request(server, "POST", "/v1/completions", body)
            except Unanswered as err:
                failures[server.url] = str(err)
                self._note_failure(server, err)
                if not err.again:
                    break
                continue
            except Unfit as err:
                server.barred = str(err)
                continue
            server.failures, server.down_until, server.problem = 0, 0.0, ""
            if reply.status == 200:
                return reply.body
            message, code, bar = explain(server.url, reply, str(body["model"]))
            if not bar:
                raise DenoiseFailed(code, message)
            # Nobody but a person can change this; the others may still do.
            server.barred = message.removesuffix(".")
        known = {one.url: one.barred or one.problem for one in self.states}
        told = "; ".join(text for text in ({**known, **failures}).values() if text)
        raise DenoiseFailed(FailureCode.MODEL_UNAVAILABLE, f"{told or 'No server can be asked'}.")

    def _note_failure(self, server: Server, err: Unanswered) -> None:
        server.failures += 1
        server.problem = str(err)
        pause = PAUSE_S * 2 ** (min(server.failures, 16) - 1)
        pause *= 0.5 + self.draw() / 2
        if err.pause_s is not None:
            pause = max(pause, err.pause_s)
        pause = min(MAX_PAUSE_S, pause)
        server.down_until = asyncio.get_running_loop().time() + pause
        log.warning("%s; left alone for %.1f s", err, pause)

    def _open(self) -> list[Server]:
        return [server for server in self.states if not server.barred]

    def _first_well(self) -> Server | None:
        """Return the server the person put first among those that work."""
        return next((one for one in self._open() if one.greeted and not one.failures), None)

    def _due(self) -> list[Server]:
        """Return those that failed and have been left alone for long enough."""
        now = asyncio.get_running_loop().time()
        return [
            one
            for one in self._open()
            if (one.failures or not one.greeted) and one.down_until <= now
        ]

    async def _admit(self, server: Server) -> None:
        if self.admit is not None:
            await self.admit(server)
        server.greeted = True

    async def healthy(self, server: Server) -> bool:
        """Ask a server that had failed whether it is well, and take note of the answer."""
        try:
            reply = await self.request(server, "GET", "/health")
            if reply.status != 200:
                raise Unanswered(f"{server.url} is not well (HTTP {reply.status})")
            if not server.greeted:
                await self._admit(server)
        except Unanswered as err:
            self._note_failure(server, err)
            return False
        except Unfit as err:
            server.barred = str(err)
            return False
        server.failures, server.down_until, server.problem = 0, 0.0, ""
        return True


def open_client(key: str | None, ca_file: str) -> httpx2.AsyncClient:
    """Return a client that checks certificates, follows no redirect and asks no proxy.

    Source text and the key go to the named address and nowhere else.

    Raises:
        ModelError: The file of certificates cannot be used.
    """
    verify: ssl.SSLContext | bool = True
    if ca_file:
        path = Path(ca_file).expanduser()
        try:
            verify = ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError) as err:
            raise ModelError(f"The certificates in {path} cannot be used: {err}.") from err
    return httpx2.AsyncClient(
        headers={"authorization": f"Bearer {key}"} if key else {},
        verify=verify,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(None, connect=CONNECT_S),
    )


def explain(url: str, reply: Reply, model: str) -> tuple[str, FailureCode, bool]:
    """Return what a refusal means: the text for a person, its code, whether the server is barred.

    Args:
        url: Of the server.
        reply: What it answered, of a status that is not success.
        model: What was asked for.
    """
    told = read_refusal(reply.body)
    said = f" It says: {told}" if told else ""
    unavailable = FailureCode.MODEL_UNAVAILABLE
    match reply.status:
        case 401 | 403:
            return (
                f"{url} refuses the key (HTTP {reply.status}). Set {KEY_VARIABLE} to the one it "
                f"was started with.",
                unavailable,
                True,
            )
        case 404:
            return f"{url} does not serve {model!r} (HTTP 404).{said}", unavailable, True
        case status if 300 <= status < 400:
            return (
                f"{url} sends elsewhere (HTTP {status}), which is not followed; name the address "
                f"itself.",
                unavailable,
                True,
            )
        case 400 | 413 | 422 if "context length" in told or reply.status == 413:
            return f"{url} finds the request too long.{said}", FailureCode.CONTEXT_TOO_LONG, False
        case 400 | 422:
            return f"{url} refuses the request.{said}", FailureCode.BAD_REQUEST, False
        case status:
            return f"{url} answers HTTP {status}.{said}", FailureCode.ENGINE_FAULT, False


def _why_not_connected(url: str, err: Exception) -> str:
    """Say what kept a connection from being made: the certificate, the name, or nobody there."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{url} shows a certificate that is not trusted ({cause.verify_message}); set "
                f"vllmCaFile to the file of your own authority"
            )
        cause = cause.__cause__ or cause.__context__
    return f"{url} cannot be reached ({err or type(err).__name__})"


def _retry_after(text: str | None) -> float | None:
    """Read the header ``Retry-After``: seconds, or a date; ``None`` when it is neither."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, TypeError):
        return None

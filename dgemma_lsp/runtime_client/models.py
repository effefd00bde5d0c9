"""The runtime's models, asked of its command ``models`` in a process of its own.

Model files belong to the runtime; this side knows the command's JSON and nothing else. Knows no
LSP. Every wait is a coroutine, and a cancelled one ends the process it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from dgemma_lsp.runtime_client.process import find_command, flags
from dgemma_lsp.runtime_client.remote import remote_of
from dgemma_lsp.settings import Settings
from dgemma_wire.errors import ModelError, RuntimeStartFailed, RuntimeUnavailable

log = logging.getLogger(__name__)

LIST_S = 60.0
"""What a listing may take; it imports little, but a busy machine may take long over that."""
FRESH_S = 5.0
"""For so long a listing is not made again."""
END_S = 3.0
"""What a process gets to end before it is killed."""
_LINE_BYTES = 1 << 20


class ListedModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One model as the command lists it; ``presence`` is absent, partial or installed."""

    name: str
    description: str
    licence: str
    size_bytes: int | None
    presence: str
    current: bool


class PullEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of a pull: ``progress`` in bytes or as a share, ``done``, or ``failed``."""

    event: str
    message: str = ""
    done: int = 0
    total: int = 0
    bytes_per_second: int = 0
    share: float | None = None

    @property
    def part(self) -> float | None:
        """How far the pull is, 0 to 1; ``None`` when it is not told."""
        return self.done / self.total if self.total else self.share


class _Listing(msgspec.Struct, frozen=True):
    models: tuple[ListedModel, ...]


OnEvent = Callable[[PullEvent], None]


class RuntimeModels:
    """Lists and pulls models; a listing is kept for some seconds.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: tuple[float, Settings, tuple[ListedModel, ...]] | None = None
        self._asking = asyncio.Lock()

    async def listed(self, settings: Settings) -> tuple[ListedModel, ...]:
        """Return the models that a runtime of these settings could run.

        Raises:
            RuntimeUnavailable: No runtime is installed here, or its command does not answer.
        """
        async with self._asking:
            if self._kept is not None:
                when, whose, models = self._kept
                if whose == settings and self._clock() - when < FRESH_S:
                    return models
            models = await self._list(settings)
            self._kept = self._clock(), settings, models
            return models

    async def _list(self, settings: Settings) -> tuple[ListedModel, ...]:
        async with _running(settings, ["models", "list", "--json"]) as process:
            try:
                async with asyncio.timeout(LIST_S):
                    out, err = await process.communicate()
            except TimeoutError as error:
                raise RuntimeStartFailed(
                    f"The runtime's command `models` did not answer within {LIST_S:.0f} s."
                ) from error
        try:
            return msgspec.json.decode(out, type=_Listing).models
        except msgspec.DecodeError as error:
            said = err.decode(errors="replace").strip()[-400:]
            raise RuntimeStartFailed(
                f"The runtime's command `models` failed: {said or error}"
            ) from error

    async def pull(self, settings: Settings, name: str, on_event: OnEvent) -> None:
        """Bring a model onto this machine; a cancelled task ends the pull, and what came is kept.

        Raises:
            RuntimeUnavailable: No runtime is installed here, or its command does not answer.
            ModelError: The model cannot be had; the text says what to do.
        """
        self._kept = None
        last = None
        try:
            # After `--`, a name that begins with a dash is a name.
            async with _running(settings, ["models", "pull", "--json", "--", name]) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                # Read all the time: a full pipe would stop the process.
                words = asyncio.create_task(process.stderr.read())
                try:
                    async for line in process.stdout:
                        with contextlib.suppress(msgspec.DecodeError):
                            last = msgspec.json.decode(line, type=PullEvent)
                            if last.event == "progress":
                                on_event(last)
                    status = await process.wait()
                    said = (await words).decode(errors="replace").strip()[-400:]
                finally:
                    words.cancel()
        finally:
            self._kept = None
        if last is not None and last.event == "failed":
            raise ModelError(last.message)
        if status != 0:
            raise RuntimeStartFailed(
                f"The pull ended with status {status}: {said or 'it said nothing'}"
            )


@asynccontextmanager
async def _running(
    settings: Settings, words: Sequence[str]
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run the runtime's command with its settings; it does not outlive the block."""
    if (remote := remote_of(settings)) is not None:
        raise RuntimeUnavailable(
            f"The runtime is on another machine, at {remote.address}. Its models are there too: "
            "run `dgemma models` on that machine."
        )
    command = [*find_command(settings.runtime_command), *flags(settings.runtime), *words]
    log.debug("running %s", " ".join(command))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
    except OSError as error:
        raise RuntimeStartFailed(
            f"{command[0]} cannot be started: {error.strerror or error}. See dgemma.runtimeCommand."
        ) from error
    try:
        yield process
    finally:
        if process.returncode is None:
            await asyncio.shield(_ended(process))


async def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            process.kill()
            await process.wait()

"""``dgemma/models`` and ``dgemma/pullModel``: what can be run, and fetching it with progress."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from concurrent.futures import Future
from typing import Any, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.progress import Progress

from dgemma_lsp import methods
from dgemma_lsp.runtime_client.models import PullEvent, RuntimeModels
from dgemma_lsp.session import Session
from dgemma_wire.errors import DgemmaError

log = logging.getLogger(__name__)

STOPPED = "Stopped. What came is kept, and the next pull goes on from there."


class Models:
    """Answers the requests about models; one for each server."""

    def __init__(self, server: LanguageServer, session: Session) -> None:
        self._server = server
        self._session = session
        self._models = RuntimeModels()
        self._numbers = itertools.count(1)

    async def models(self) -> methods.ModelsResult:
        """Return the models that can be run; none and a message when nobody can be asked."""
        await self._session.until_configured()
        try:
            listed = await self._models.listed(self._session.settings)
        except DgemmaError as err:
            return methods.ModelsResult(models=(), message=str(err))
        return methods.ModelsResult(
            models=tuple(
                methods.KnownModel(
                    name=model.name,
                    description=model.description,
                    licence=model.licence,
                    size_mb=None if model.size_bytes is None else round(model.size_bytes / 1e6),
                    installed=model.presence == "installed",
                    current=model.current,
                )
                for model in listed
            )
        )

    async def pull(self, params: methods.PullModelParams) -> methods.PullModelResult:
        """Fetch a model; ended by the request's cancellation, the progress bar's or shutdown."""
        # A task of the session's, so that the server's end is the pull's end.
        work = self._session.keep(self._pull(params.name))
        try:
            return await work
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():  # the client gave the request itself up
                work.cancel()
                raise
            return methods.PullModelResult(pulled=False, message=STOPPED)

    async def _pull(self, name: str) -> methods.PullModelResult:
        session = self._session
        await session.until_configured()
        bar = await self._bar(name)
        said = STOPPED
        try:
            await self._models.pull(session.settings, name, bar.report if bar else _ignore)
            said = "fetched"
        except DgemmaError as err:
            said = str(err)
            return methods.PullModelResult(pulled=False, message=said)
        finally:
            if bar is not None:
                bar.end(said)
        if name == session.settings.runtime.model:
            session.problem = None
        return methods.PullModelResult(pulled=True)

    async def _bar(self, name: str) -> _Bar | None:
        """Begin a bar that can cancel this task; ``None`` for clients without such bars."""
        token = await self._token()
        if token is None:
            return None
        progress = self._server.work_done_progress
        progress.begin(
            token,
            types.WorkDoneProgressBegin(
                title=f"dgemma: fetching {name}", percentage=0, cancellable=True
            ),
        )
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def on_end(future: Future[Any]) -> None:
            if future.cancelled():
                loop.call_soon_threadsafe(task.cancel)

        tokens = cast("dict[str, Future[Any]]", progress.tokens)  # pyright: ignore[reportUnknownMemberType] - untyped upstream
        tokens[token].add_done_callback(on_end)
        return _Bar(progress, tokens, token)

    async def _token(self) -> str | None:
        """Return the token of a new progress bar; ``None`` for clients without them."""
        window = self._server.client_capabilities.window
        if window is None or not window.work_done_progress:
            return None
        token = f"dgemma-pull-{next(self._numbers)}"
        try:
            await self._server.work_done_progress.create_async(token)  # pyright: ignore[reportUnknownMemberType] - untyped upstream
        except JsonRpcException as err:
            log.debug("the client takes no progress: %s", err)
            return None
        return token


class _Bar:
    """One progress bar of a client."""

    def __init__(self, progress: Progress, tokens: dict[str, Future[Any]], token: str) -> None:
        self._progress = progress
        self._tokens = tokens
        self._token = token

    def report(self, event: PullEvent) -> None:
        """Move it."""
        part = event.part
        self._progress.report(
            self._token,
            types.WorkDoneProgressReport(
                message=_words(event), percentage=None if part is None else int(part * 100)
            ),
        )

    def end(self, said: str) -> None:
        """End it with a message."""
        self._tokens.pop(self._token, None)
        with contextlib.suppress(OSError, RuntimeError):  # the client may have gone
            self._progress.end(self._token, types.WorkDoneProgressEnd(message=said))


def _ignore(_: PullEvent) -> None:
    return


def _words(event: PullEvent) -> str:
    if not event.total:
        return event.message
    text = f"{event.done / 1e9:.2f} of {event.total / 1e9:.2f} GB"
    if not event.bytes_per_second:
        return text
    left = (event.total - event.done) / event.bytes_per_second
    return f"{text}, {event.bytes_per_second / 1e6:.1f} MB/s, {left / 60:.0f} min left"

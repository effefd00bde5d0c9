"""Work-done progress while a model is fetched or loaded."""

from __future__ import annotations

import asyncio
import itertools
import logging

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from dgemma_wire.messages import RuntimeState, Status

log = logging.getLogger(__name__)

_UNDER_WAY = (RuntimeState.FETCHING, RuntimeState.LOADING)


class LoadingProgress:
    """Shows the statuses of a runtime as one progress bar per load, where clients have them."""

    def __init__(self, server: LanguageServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._token: str | None = None
        self._starting: asyncio.Task[None] | None = None
        self._latest: Status | None = None

    def on_status(self, status: Status) -> None:
        """Begin, move or end the bar."""
        window = self._server.client_capabilities.window
        if window is None or not window.work_done_progress:
            return
        self._latest = status
        if status.state in _UNDER_WAY:
            if self._token is not None:
                self._report(self._token, status)
            elif self._starting is None:
                self._starting = asyncio.create_task(self._begin())
        elif self._token is not None:
            self._end(self._token, status)

    async def _begin(self) -> None:
        token = f"dgemma-load-{next(self._numbers)}"
        try:
            await self._server.work_done_progress.create_async(token)  # pyright: ignore[reportUnknownMemberType] - untyped upstream
        except JsonRpcException as err:
            log.debug("the client takes no progress: %s", err)
            return
        finally:
            self._starting = None
        self._token = token
        status = self._latest
        assert status is not None
        self._server.work_done_progress.begin(
            token, types.WorkDoneProgressBegin(title=f"dgemma: {status.model} model", percentage=0)
        )
        # The load may have ended while the client was asked.
        if status.state in _UNDER_WAY:
            self._report(token, status)
        else:
            self._end(token, status)

    def _report(self, token: str, status: Status) -> None:
        percentage = None if status.progress is None else round(status.progress * 100)
        self._server.work_done_progress.report(
            token, types.WorkDoneProgressReport(message=status.message, percentage=percentage)
        )

    def _end(self, token: str, status: Status) -> None:
        self._token = None
        ready = f"ready on {status.device}" if status.state is RuntimeState.READY else ""
        self._server.work_done_progress.end(
            token, types.WorkDoneProgressEnd(message=status.message or ready)
        )

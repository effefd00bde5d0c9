"""A small LSP client for the command line: starts ``dgemma-lsp`` and speaks LSP to it.

The command line goes the whole way an editor goes, so what it shows is what editors get.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from dgemma_lsp import methods
from dgemma_lsp.cli.lsp import release
from dgemma_lsp.features.protocol import RawProtocol, converter
from dgemma_wire.errors import DgemmaError

OnPreview = Callable[[methods.PreviewParams], None]
OnProgress = Callable[[str, float | None], None]


class ServerDied(DgemmaError):
    """The language server ended before it answered."""


class EditorClient:
    """One running ``dgemma-lsp`` and the requests this project makes of it."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.language_client = LanguageClient(
            "dgemma command line", release(), RawProtocol, converter_factory=converter
        )
        self._previews: dict[str | int, OnPreview] = {}
        self._settings: dict[str, object] = {}
        self._progress_title = ""
        self._on_progress = on_progress
        self.messages: list[str] = []
        """What the server wanted to tell the person."""
        handlers: dict[str, Callable[[Any], Any]] = {
            methods.PREVIEW: self._on_preview,
            types.WORKSPACE_CONFIGURATION: self._on_configuration,
            types.WINDOW_WORK_DONE_PROGRESS_CREATE: self._on_ignored,
            types.PROGRESS: self._on_work_done,
            types.WINDOW_SHOW_MESSAGE: self._on_show_message,
            types.WINDOW_LOG_MESSAGE: self._on_ignored,
        }
        for method, handler in handlers.items():
            # pygls marks the function it is given, and a bound method takes no marks.
            self.language_client.feature(method)(partial(handler))

    async def start(self, settings: dict[str, object], flags: list[str]) -> None:
        """Start the server and shake hands."""
        self._settings = settings
        await self.language_client.start_io(  # pyright: ignore[reportUnknownMemberType] - untyped upstream
            sys.executable, "-m", "dgemma_lsp", *flags
        )
        await self._until_dead(
            self.language_client.initialize_async(
                types.InitializeParams(
                    process_id=None,
                    client_info=types.ClientInfo(name=self.language_client.name, version=release()),
                    capabilities=types.ClientCapabilities(
                        general=types.GeneralClientCapabilities(
                            # Columns on the command line count characters: so do these.
                            position_encodings=[types.PositionEncodingKind.Utf32]
                        ),
                        window=types.WindowClientCapabilities(work_done_progress=True),
                        workspace=types.WorkspaceClientCapabilities(configuration=True),
                    ),
                    initialization_options=settings,
                    # As an editor that was started here: the workspace's adapter is used.
                    workspace_folders=[types.WorkspaceFolder(Path.cwd().as_uri(), Path.cwd().name)],
                )
            )
        )
        self.language_client.initialized(types.InitializedParams())

    async def stop(self) -> None:
        """End the server; the runtime goes on."""
        with contextlib.suppress(Exception):  # it may be gone already: this is clean-up
            await asyncio.wait_for(self.language_client.shutdown_async(None), 5)
            self.language_client.exit(None)
        await self.language_client.stop()

    def open(self, path: Path, text: str, language: str) -> str:
        """Open a document; returns its URI."""
        uri = path.resolve().as_uri()
        self.language_client.text_document_did_open(
            types.DidOpenTextDocumentParams(
                types.TextDocumentItem(uri=uri, language_id=language, version=1, text=text)
            )
        )
        return uri

    def listen(self, token: str | int, on_preview: OnPreview) -> None:
        """Call a function with the previews of the fill that has this token."""
        self._previews[token] = on_preview

    async def fill(
        self,
        params: methods.FillParams,
        on_preview: OnPreview | None = None,
    ) -> methods.FillResult:
        """Fill a hole; previews come while it runs when the parameters ask for them."""
        if on_preview is not None and params.preview_token is not None:
            self.listen(params.preview_token, on_preview)
        answer = await self.request(methods.FILL, msgspec.to_builtins(params))
        return msgspec.convert(answer, type=methods.FillResult)

    async def status(self) -> methods.StatusResult:
        """Return the server's view of itself and the runtime."""
        answer = await self.request(methods.STATUS, {})
        return msgspec.convert(answer, type=methods.StatusResult)

    async def request(self, method: str, params: object) -> Any:
        """Send one of our own requests and return its result as plain values."""
        return await self._until_dead(
            self.language_client.protocol.send_request_async(method, params)
        )

    async def _until_dead(self, answer: Any) -> Any:
        """Await an answer, or the server's end."""
        process = cast("asyncio.subprocess.Process", self.language_client._server)  # pyright: ignore
        asked = asyncio.ensure_future(answer)
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            assert process.stderr is not None
            said = (await process.stderr.read()).decode(errors="replace").strip()
            raise ServerDied(f"dgemma-lsp ended with status {process.returncode}: {said[-600:]}")
        finally:
            ended.cancel()
            asked.cancel()

    # -- what the server asks and tells --------------------------------------------------------

    def _on_preview(self, params: Any) -> None:
        preview = msgspec.convert(params, type=methods.PreviewParams)
        if (listener := self._previews.get(preview.token)) is not None:
            listener(preview)

    def _on_configuration(self, params: types.ConfigurationParams) -> list[Any]:
        return [self._settings for _ in params.items]

    def _on_work_done(self, params: types.ProgressParams) -> None:
        value = cast("dict[str, Any]", params.value)
        self._progress_title = value.get("title") or self._progress_title
        percentage = value.get("percentage")
        self._on_progress(
            value.get("message") or self._progress_title,
            None if percentage is None else percentage / 100,
        )

    def _on_show_message(self, params: types.ShowMessageParams) -> None:
        self.messages.append(params.message)

    def _on_ignored(self, params: Any) -> None:
        pass


@contextlib.asynccontextmanager
async def editor(
    settings: dict[str, object], flags: list[str], on_progress: OnProgress
) -> AsyncGenerator[EditorClient]:
    """Run a language server for the length of a ``with`` block."""
    client = EditorClient(on_progress)
    await client.start(settings, flags)
    try:
        yield client
    finally:
        await client.stop()

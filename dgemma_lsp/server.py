"""The language server: which feature answers which message. Nothing else lives here."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from dgemma_lsp import methods
from dgemma_lsp.features import (
    code_actions,
    completion,
    documents,
    fill,
    holes,
    inline_completion,
    lifecycle,
    mend,
    offers,
    resolve,
    rewrite,
    status,
)
from dgemma_lsp.features.models import Models
from dgemma_lsp.features.progress import LoadingProgress
from dgemma_lsp.features.protocol import ServerProtocol, converter
from dgemma_lsp.session import Session

log = logging.getLogger(__name__)

Params = TypeVar("Params")


class DgemmaServer(LanguageServer):
    """pygls's server, which reports faults to the log and not into the person's way."""

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log a fault by its kind alone: its text may quote a document."""
        log.error("%s in %s", type(error).__name__, getattr(source, "__name__", source))


def create_server(release: str) -> DgemmaServer:
    """Return a server with every feature registered."""
    server = DgemmaServer(
        "dgemma", release, protocol_cls=ServerProtocol, converter_factory=converter
    )
    progress = LoadingProgress(server)

    def on_problem(text: str) -> None:
        server.window_show_message(
            types.ShowMessageParams(types.MessageType.Warning, f"dgemma: {text}")
        )

    def on_extended(params: methods.ExtendedParams) -> None:
        server.protocol.notify(methods.EXTENDED, msgspec.to_builtins(params))

    session = Session(release, progress.on_status, on_problem, on_extended)
    _register_lsp(server, session)
    _register_ours(server, session)
    return server


def _register_lsp(server: DgemmaServer, session: Session) -> None:
    menu = completion.Registration()

    @server.feature(types.INITIALIZE)
    def _(params: types.InitializeParams) -> None:
        lifecycle.initialize(session, params)
        menu.announce(session, server)

    @server.feature(types.INITIALIZED)
    async def _(_: types.InitializedParams) -> None:
        await lifecycle.initialized(session, server)
        await menu.follow(session, server)

    @server.feature(types.SHUTDOWN)
    async def _(_: None) -> None:
        await session.close()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def _(params: types.DidChangeConfigurationParams) -> None:
        await lifecycle.did_change_configuration(session, server, params)
        await menu.follow(session, server)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def _(params: types.DidChangeWorkspaceFoldersParams) -> None:
        lifecycle.did_change_folders(session, params)

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def _(params: types.DidOpenTextDocumentParams) -> None:
        documents.did_open(session, params)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def _(params: types.DidChangeTextDocumentParams) -> None:
        documents.did_change(session, params)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def _(params: types.DidCloseTextDocumentParams) -> None:
        documents.did_close(session, params)

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def _(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        try:
            return await inline_completion.inline_completion(session, params)
        except Exception as err:
            # The edge of the server: a fault of ours is silence to the person, never an error.
            # Its traceback may quote a document, so it is for DEBUG alone.
            traceback = log.isEnabledFor(logging.DEBUG)
            log.error("a completion failed with %s", type(err).__name__, exc_info=traceback)
            return types.InlineCompletionList(items=[])

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=[mend.KIND, rewrite.KIND], resolve_provider=True),
    )
    def _(params: types.CodeActionParams) -> list[types.CodeAction]:
        return code_actions.code_actions(session, params, server.client_capabilities)

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def _(action: types.CodeAction) -> types.CodeAction:
        tell(await code_actions.resolve(session, action))
        return action

    def tell(why: str | None) -> None:
        if why is not None:
            server.window_show_message(
                types.ShowMessageParams(types.MessageType.Info, f"dgemma: {why}")
            )

    async def act(title: str, data: Any) -> None:
        tell(await code_actions.act(session, server, title, data))

    @server.command(methods.ACT)
    def _(*arguments: Any) -> None:
        match arguments:
            case [str(title), data]:
                session.keep(act(title, data))
            case _:
                tell("This action is not one of dgemma's.")

    @server.command(methods.ACCEPTED)
    def _(*arguments: Any) -> None:
        offers.accepted(session, arguments)

    @server.command(methods.RESTART_RUNTIME)
    async def _(*_: Any) -> Any:
        return msgspec.to_builtins(await status.stop_runtime(session))


def _register_ours(server: DgemmaServer, session: Session) -> None:
    def preview(params: methods.PreviewParams) -> None:
        server.protocol.notify(methods.PREVIEW, msgspec.to_builtins(params))

    @server.feature(methods.FILL)
    async def _(params: Any) -> Any:
        asked = _asked(methods.FILL, params, methods.FillParams)
        return msgspec.to_builtins(await fill.fill(session, asked, preview))

    @server.feature(methods.HOLES)
    async def _(params: Any) -> Any:
        asked = _asked(methods.HOLES, params, methods.HolesParams)
        return msgspec.to_builtins(await holes.holes(session, asked))

    @server.feature(methods.FILL_HOLES)
    async def _(params: Any) -> Any:
        asked = _asked(methods.FILL_HOLES, params, methods.FillHolesParams)
        return msgspec.to_builtins(await holes.fill_holes(session, asked, preview))

    @server.feature(methods.MEND)
    async def _(params: Any) -> Any:
        asked = _asked(methods.MEND, params, methods.MendParams)
        return msgspec.to_builtins(await mend.mend(session, asked, preview))

    @server.feature(methods.REWRITE)
    async def _(params: Any) -> Any:
        asked = _asked(methods.REWRITE, params, methods.RewriteParams)
        return msgspec.to_builtins(await rewrite.rewrite(session, asked, preview))

    @server.feature(methods.RESOLVE)
    async def _(params: Any) -> Any:
        asked = _asked(methods.RESOLVE, params, methods.ResolveParams)
        return msgspec.to_builtins(await resolve.resolve(session, asked, preview))

    @server.feature(methods.REWRITES)
    async def _(params: Any) -> Any:
        asked = _asked(methods.REWRITES, params, methods.RewritesParams)
        return msgspec.to_builtins(await rewrite.rewrites(session, asked))

    @server.feature(methods.CONFIDENCE)
    def _(params: Any) -> Any:
        asked = _asked(methods.CONFIDENCE, params, methods.OfferParams)
        return msgspec.to_builtins(offers.confidence(session, asked))

    @server.feature(methods.STATISTICS)
    def _(_: Any) -> Any:
        return msgspec.to_builtins(offers.statistics(session))

    @server.feature(methods.ERASE_STATISTICS)
    def _(_: Any) -> Any:
        return msgspec.to_builtins(offers.erase_statistics(session))

    @server.feature(methods.DID_SHOW)
    def _(params: Any) -> None:
        offers.did_show(session, _asked(methods.DID_SHOW, params, methods.OfferParams))

    @server.feature(methods.DID_PARTIALLY_ACCEPT)
    def _(params: Any) -> None:
        told = _asked(methods.DID_PARTIALLY_ACCEPT, params, methods.PartlyAcceptedParams)
        offers.did_partially_accept(session, told)

    @server.feature(methods.DID_REJECT)
    def _(params: Any) -> None:
        offers.did_reject(session, _asked(methods.DID_REJECT, params, methods.RejectedParams))

    models = Models(server, session)

    @server.feature(methods.MODELS)
    async def _(_: Any) -> Any:
        return msgspec.to_builtins(await models.models())

    @server.feature(methods.PULL_MODEL)
    async def _(params: Any) -> Any:
        asked = _asked(methods.PULL_MODEL, params, methods.PullModelParams)
        return msgspec.to_builtins(await models.pull(asked))

    @server.feature(methods.STATUS)
    async def _(_: Any) -> Any:
        return msgspec.to_builtins(await status.status(session))

    @server.feature(methods.STOP_RUNTIME)
    async def _(_: Any) -> Any:
        return msgspec.to_builtins(await status.stop_runtime(session))


def _asked(method: str, params: Any, shape: type[Params]) -> Params:
    """Return the parameters of a request of ours; none at all count as empty ones."""
    try:
        return msgspec.convert(params or {}, type=shape)
    except msgspec.ValidationError as err:
        raise JsonRpcInvalidParams(f"{method}: {err}") from err

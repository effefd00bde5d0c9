"""``textDocument/completion``: the same candidates, for menus of clients without inline completion.

Off unless the settings say otherwise. Registered while it is on where the client takes that, else
announced at the start when the options of the start turn it on.
"""

from __future__ import annotations

import logging

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from dgemma_lsp.features.convert import to_offset
from dgemma_lsp.features.items import to_completion_items
from dgemma_lsp.features.suggestions import asked_at, suggest
from dgemma_lsp.session import Session

log = logging.getLogger(__name__)

_REGISTRATION = "dgemma-completion"

TRIGGERS = (".", "(", "[", "{", " ", "=", ":", ",", '"', "'", "/", "<", ">")
"""Characters behind which clients ask by themselves; letters they ask behind anyway."""


async def completion(
    session: Session, params: types.CompletionParams, *, markdown: bool = True
) -> types.CompletionList:
    """Answer one request: no items, never an error, where there is nothing good.

    ``markdown`` says that the client shows documentation in it.
    """
    nothing = types.CompletionList(is_incomplete=True, items=[])
    await session.until_configured()
    if not session.settings.completion:
        return types.CompletionList(is_incomplete=False, items=[])
    # Plugins ask with this kind at every letter: it says nothing of a person.
    snapshot = asked_at(session, params.text_document.uri, invoked=False)
    if snapshot is None:
        return nothing
    at = params.position
    offset = to_offset(snapshot, at.line, at.character, session.encoding)
    found = await suggest(session, snapshot, offset, invoked=False)
    items = to_completion_items(
        found.candidates, found.offers, snapshot, offset, session.encoding, markdown=markdown
    )
    return types.CompletionList(is_incomplete=True, items=items)


class Registration:
    """Keeps what the client knows of this feature as the settings have it."""

    def __init__(self) -> None:
        self._answering = False
        self._registered = False

    def announce(self, session: Session, server: LanguageServer) -> None:
        """Say at the start that completions are here, to clients that take no registration.

        What pygls knows when ``initialize`` is answered it tells the client, so nothing is known
        to it before.
        """
        if session.settings.completion and not takes_registration(server):
            self._answer(session, server)

    def _answer(self, session: Session, server: LanguageServer) -> None:
        if self._answering:
            return
        self._answering = True

        @server.feature(types.TEXT_DOCUMENT_COMPLETION, options())
        async def _(params: types.CompletionParams) -> types.CompletionList:
            try:
                return await completion(session, params, markdown=_shows_markdown(server))
            except Exception as err:
                log.error("a completion failed with %s", type(err).__name__)
                return types.CompletionList(is_incomplete=True, items=[])

    async def follow(self, session: Session, server: LanguageServer) -> None:
        """Register or take back, where the settings have changed."""
        wanted = session.settings.completion
        if wanted == self._registered or not takes_registration(server):
            return
        self._registered = wanted
        self._answer(session, server)
        try:
            if wanted:
                await server.client_register_capability_async(
                    types.RegistrationParams(
                        [
                            types.Registration(
                                id=_REGISTRATION,
                                method=types.TEXT_DOCUMENT_COMPLETION,
                                register_options=types.CompletionRegistrationOptions(
                                    trigger_characters=list(TRIGGERS), resolve_provider=False
                                ),
                            )
                        ]
                    )
                )
            else:
                await server.client_unregister_capability_async(
                    types.UnregistrationParams(
                        [types.Unregistration(_REGISTRATION, types.TEXT_DOCUMENT_COMPLETION)]
                    )
                )
        except JsonRpcException:
            self._registered = not wanted


def options() -> types.CompletionOptions:
    """Return what is announced."""
    return types.CompletionOptions(trigger_characters=list(TRIGGERS), resolve_provider=False)


def takes_registration(server: LanguageServer) -> bool:
    """Whether the client lets completions be registered while it runs."""
    document = server.client_capabilities.text_document
    known = document and document.completion
    return bool(known and known.dynamic_registration)


def _shows_markdown(server: LanguageServer) -> bool:
    """Whether the client shows documentation in Markdown."""
    document = server.client_capabilities.text_document
    known = document and document.completion and document.completion.completion_item
    return types.MarkupKind.Markdown in ((known and known.documentation_format) or ())

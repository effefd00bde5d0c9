"""``didOpen``, ``didChange``, ``didClose``: keep the session's documents as the editor has them."""

from __future__ import annotations

import asyncio
import time

from lsprotocol import types

from dgemma_lsp.documents import Document
from dgemma_lsp.features.convert import to_changes
from dgemma_lsp.session import Session
from dgemma_lsp.syntax.grammar import GrammarMissing
from dgemma_lsp.syntax.tree import LONG_CHARS

_PAUSE_S = 0.0002
"""Long enough for the event loop to get its turn."""


def did_open(session: Session, params: types.DidOpenTextDocumentParams) -> None:
    """Take in a document."""
    item = params.text_document
    document = session.documents.open(item.uri, item.language_id, item.version, item.text)
    grammar = document.language.load_grammar()
    if isinstance(grammar, GrammarMissing):
        session.tell_problem(grammar.message)
    if len(document.text) <= LONG_CHARS:
        # The first parse takes longer than any later one; no request waits for it here.
        _ = document.parsed.tree
    parse_apart(document)


def did_change(session: Session, params: types.DidChangeTextDocumentParams) -> None:
    """Apply changes in the order they come."""
    before = session.documents.get(params.text_document.uri)
    document = session.documents.change(
        params.text_document.uri,
        params.text_document.version,
        to_changes(params.content_changes),
        session.encoding,
    )
    if document is not None:
        parse_apart(document)
        if before is not None:
            session.surroundings.edited(document.uri, before.parsed, document.parsed)


def parse_apart(document: Document) -> None:
    """Have a long document parsed on a thread, if it is time for that.

    What asks meanwhile makes do with an older tree, or with the lines around the place.
    """
    if document.parsed.wants_parse:
        work = document.parsed.parse_later(lambda: time.sleep(_PAUSE_S))
        asyncio.get_running_loop().run_in_executor(None, work)


def did_close(session: Session, params: types.DidCloseTextDocumentParams) -> None:
    """Forget a document."""
    session.recorder.closing(params.text_document.uri)
    session.documents.close(params.text_document.uri)
    session.cache.forget(params.text_document.uri)
    session.proposals.forget(params.text_document.uri)
    session.surroundings.closed(params.text_document.uri)

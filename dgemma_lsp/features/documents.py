"""``didOpen``, ``didChange``, ``didClose``: keep the session's documents as the editor has them."""

from __future__ import annotations

from lsprotocol import types

from dgemma_lsp.features.convert import to_changes
from dgemma_lsp.session import Session


def did_open(session: Session, params: types.DidOpenTextDocumentParams) -> None:
    """Take in a document."""
    item = params.text_document
    document = session.documents.open(item.uri, item.language_id, item.version, item.text)
    # The first parse of a long file takes longer than any later one; no request waits for it here.
    _ = document.parsed.tree


def did_change(session: Session, params: types.DidChangeTextDocumentParams) -> None:
    """Apply changes in the order they come."""
    session.documents.change(
        params.text_document.uri,
        params.text_document.version,
        to_changes(params.content_changes),
        session.encoding,
    )


def did_close(session: Session, params: types.DidCloseTextDocumentParams) -> None:
    """Forget a document."""
    session.documents.close(params.text_document.uri)
    session.cache.forget(params.text_document.uri)

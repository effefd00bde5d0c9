"""pygls's protocol with two changes of ours.

* Documents are kept by ``dgemma_lsp.documents`` alone: pygls's own copy costs a pass over every
  line of the file at each key.
* Parameters and results of our own methods stay plain values, which msgspec then checks.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from typing import Any, cast

import attrs
from cattrs import Converter
from lsprotocol import types
from pygls.protocol import LanguageServerProtocol, default_converter, lsp_method

_OURS = "dgemma/"
_Steps = Generator[Any, Any, None]


@attrs.define
class RawRequest:
    """A request of ours; ``params`` is what JSON held."""

    id: str | int
    method: str
    jsonrpc: str
    params: Any = None


@attrs.define
class RawNotification:
    """A notification of ours; ``params`` is what JSON held."""

    method: str
    jsonrpc: str
    params: Any = None


@attrs.define
class RawResponse:
    """An answer to a request of ours; ``result`` is what JSON held."""

    id: str | int
    jsonrpc: str
    result: Any = None


class Raw:
    """Makes one of the first two, as the members say; pygls asks for one type by the method."""

    def __new__(cls, **members: Any) -> Any:
        """Return a request when there is an id, else a notification."""
        return RawRequest(**members) if "id" in members else RawNotification(**members)


def converter() -> Converter:
    """Return pygls's converter, taught to leave our own messages as they are."""
    made = default_converter()
    made.register_structure_hook(Raw, _members)
    made.register_structure_hook(RawResponse, _members)
    return made


def _members(value: dict[str, Any], shape: type[Any]) -> Any:
    return shape(**value)


class RawProtocol(LanguageServerProtocol):
    """LSP with our own messages left raw; both the server and the command line speak it."""

    @lru_cache  # noqa: B019 - as upstream's; one protocol lives as long as the process
    def get_message_type(self, method: str) -> type[Any] | None:
        """Return the shape of a message."""
        return Raw if method.startswith(_OURS) else super().get_message_type(method)

    @lru_cache  # noqa: B019 - as upstream's
    def get_result_type(self, method: str) -> type[Any] | None:
        """Return the shape of an answer."""
        return RawResponse if method.startswith(_OURS) else super().get_result_type(method)


class ServerProtocol(RawProtocol):
    """The server's protocol."""

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> _Steps:
        """Hand the document to its feature, and keep no copy."""
        yield from self._to_feature(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> _Steps:
        """Hand the change to its feature, and keep no copy."""
        yield from self._to_feature(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> _Steps:
        """Hand the end of the document to its feature."""
        yield from self._to_feature(types.TEXT_DOCUMENT_DID_CLOSE, params)

    def _to_feature(self, method: str, params: object) -> _Steps:
        features = cast("dict[str, Any]", self.fm.features)  # pyright: ignore[reportUnknownMemberType] - untyped upstream
        handler = features.get(method)
        if handler is not None:
            yield handler, (params,), None

"""One side of a connection as a value: bytes in, messages out, and the rules between them.

Sans-io, after h11: no socket, no clock, no event loop. ``send`` turns a message into the bytes of
one frame; ``receive`` takes whatever bytes came and returns the messages they complete. Everything
that decides what may be said when lives in this module.

A frame is a 4-byte big-endian length and that many bytes of msgpack: a map with a ``type`` key.

    peer      Hello ─┬─► Welcome ── Denoise / Renoise / Weigh / Cancel / GetStatus / Stop ─►
                     └─► Refused (closes)
    runtime          ◄── Draft* then exactly one Done or Failed per request, Status at any time
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, cast, get_args

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from dgemma_wire.errors import LocalProtocolError, RemoteProtocolError
from dgemma_wire.messages import (
    PROTOCOL_VERSION,
    Denoise,
    Done,
    Draft,
    Failed,
    Hello,
    Message,
    PeerMessage,
    RefusalCode,
    Refused,
    Renoise,
    RuntimeMessage,
    Weigh,
    Welcome,
)

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Bound on one frame. A 256-token canvas and a prefix of 32 000 tokens stay under 200 KiB."""

# msgpack ships no complete types; these two lines are all that is used of it.
_pack = cast("Callable[..., bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_unpack = cast("Callable[..., object]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]

_LENGTH = struct.Struct(">I")
_MAX_ITEMS = 100_000  # entries of one array or map; msgpack can promise billions in five bytes
_PEER_TYPES = cast("tuple[type[Any], ...]", get_args(PeerMessage))
_RUNTIME_TYPES = cast("tuple[type[Any], ...]", get_args(RuntimeMessage))


class Role(Enum):
    """Which end of the connection this is."""

    PEER = auto()
    RUNTIME = auto()


class State(Enum):
    """Where the handshake stands."""

    HANDSHAKE = auto()
    OPEN = auto()
    CLOSED = auto()


class Connection:
    """The protocol state of one end.

    Args:
        role: Which end this is.
        max_frame_bytes: Larger frames are refused, in both directions.
    """

    def __init__(self, role: Role, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.role = role
        self.state = State.HANDSHAKE
        self.open_requests: set[int] = set()
        """Ids of requests that have no answer yet."""
        self._last_id = -1
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._hello_sent = False

    def send(self, message: Message) -> bytes:
        """Return the frame of a message.

        Raises:
            LocalProtocolError: The message may not be sent now, or is too large.
        """
        self._advance(message, outgoing=True, error=LocalProtocolError)
        body = _pack(msgspec.to_builtins(message), use_bin_type=True)
        if len(body) > self._max_frame_bytes:
            raise LocalProtocolError(
                f"A {type(message).__name__} of {len(body)} bytes is over the frame limit of "
                f"{self._max_frame_bytes} bytes."
            )
        return _LENGTH.pack(len(body)) + body

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the other side and return the messages they complete.

        Raises:
            RemoteProtocolError: A frame is too large, is no msgpack, holds no message of ours, or
                comes when it may not. The connection is closed and takes no more bytes. Messages
                completed by the same bytes before the fault are lost with it: nothing of a peer
                that broke the rules is acted on.
        """
        if self.state is State.CLOSED:
            raise RemoteProtocolError("Bytes came after the connection was closed.")
        self._buffer += data
        messages: list[Message] = []
        try:
            while (body := self._next_frame()) is not None:
                message = self._decode(body)
                self._advance(message, outgoing=False, error=RemoteProtocolError)
                messages.append(message)
        except RemoteProtocolError:
            self.state = State.CLOSED
            self._buffer.clear()
            raise
        return messages

    def receive_eof(self) -> None:
        """Take note that the other side will send no more bytes.

        Raises:
            RemoteProtocolError: The last frame was cut short.
        """
        was_closed, self.state = self.state is State.CLOSED, State.CLOSED
        if self._buffer and not was_closed:
            missing = f"{len(self._buffer)} bytes of an unfinished frame"
            self._buffer.clear()
            raise RemoteProtocolError(f"The connection ended inside a frame: {missing} came.")

    def _next_frame(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._max_frame_bytes:
            raise RemoteProtocolError(
                f"A frame of {length} bytes is over the limit of {self._max_frame_bytes} bytes."
            )
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body

    def _decode(self, body: bytes) -> Message:
        try:
            value = _unpack(
                body,
                raw=False,
                strict_map_key=True,
                max_array_len=_MAX_ITEMS,
                max_map_len=_MAX_ITEMS,
                max_ext_len=0,
            )
        except (ValueError, msgpack.UnpackException, RecursionError) as err:
            raise RemoteProtocolError(f"A frame of {len(body)} bytes is not msgpack.") from err
        incoming = RuntimeMessage if self.role is Role.PEER else PeerMessage
        try:
            return cast("Message", msgspec.convert(value, type=incoming))
        except msgspec.ValidationError as err:
            # The error names types and paths, never the text that a message carries.
            raise RemoteProtocolError(f"A frame holds no message of this protocol: {err}") from err

    def _advance(
        self, message: Message, *, outgoing: bool, error: Callable[[str], Exception]
    ) -> None:
        """Move the state over one message, or raise ``error`` when the rules forbid it."""
        name = type(message).__name__
        if self.state is State.CLOSED:
            raise error(f"{name} came after the connection was closed.")
        from_peer = outgoing == (self.role is Role.PEER)
        if not isinstance(message, _PEER_TYPES if from_peer else _RUNTIME_TYPES):
            raise error(f"{name} cannot travel in this direction.")
        if self.state is State.HANDSHAKE:
            self._advance_handshake(message, error)
            return
        match message:
            case Hello() | Welcome() | Refused():
                raise error(f"{name} came after the handshake.")
            case Denoise(id=request) | Renoise(id=request) | Weigh(id=request):
                if request <= self._last_id:
                    raise error(f"Request id {request} is not larger than {self._last_id}.")
                self._last_id = request
                self.open_requests.add(request)
            case Draft(id=request) if request not in self.open_requests:
                raise error(f"A draft came for request {request}, which is not open.")
            case Done(id=request) | Failed(id=request):
                if request not in self.open_requests:
                    raise error(f"An answer came for request {request}, which is not open.")
                self.open_requests.discard(request)
            case _:
                pass  # Cancel of an answered request is allowed: the two may cross.

    def _advance_handshake(self, message: Message, error: Callable[[str], Exception]) -> None:
        match message:
            case Hello() if not self._hello_sent:
                self._hello_sent = True
            case Welcome() if self._hello_sent:
                self.state = State.OPEN
            case Refused() if self._hello_sent:
                self.state = State.CLOSED
            case _:
                raise error(f"{type(message).__name__} came before the handshake was done.")


def refusal(hello: Hello, token: str) -> tuple[RefusalCode, str] | None:
    """Return why a ``Hello`` must be refused, or ``None`` when it is fine.

    The token is compared in constant time, and before anything else is said.
    """
    if not hmac.compare_digest(hello.token.encode(), token.encode()):
        return (
            RefusalCode.TOKEN,
            "The token is wrong; connect through the endpoint file of this user.",
        )
    if hello.protocol != PROTOCOL_VERSION:
        return (
            RefusalCode.PROTOCOL,
            f"Protocol {hello.protocol} is not spoken here; "
            f"this runtime speaks {PROTOCOL_VERSION}.",
        )
    return None

"""The protocol as a value: bytes in, messages out, and every way to break its rules."""

from __future__ import annotations

import struct

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_wire import PROTOCOL_VERSION, Connection, Role
from dgemma_wire.connection import State, refusal
from dgemma_wire.errors import FailureCode, LocalProtocolError, ProtocolError, RemoteProtocolError
from dgemma_wire.messages import (
    Cancel,
    Candidate,
    Clamped,
    Denoise,
    Done,
    Draft,
    DraftToken,
    Failed,
    Free,
    GetStatus,
    Hello,
    Kept,
    ModelLimits,
    RefusalCode,
    Refused,
    Renoise,
    SpanToken,
    Timings,
    TokenState,
    Welcome,
)

LIMITS = ModelLimits(
    prefix_tokens=1, canvas_tokens=2, span_tokens=3, max_span_tokens=3, chars_per_token=3.5
)
HELLO = Hello(protocol=PROTOCOL_VERSION, release="1", token="t")
WELCOME = Welcome(protocol=PROTOCOL_VERSION, release="1", pid=1, model="m", limits=LIMITS)
TIMINGS = Timings(
    queue_ms=0,
    layout_ms=0,
    prefill_ms=0,
    step_ms=(),
    total_ms=0,
    prefix_tokens=0,
    cached_tokens=0,
)


def denoise(number: int = 1, text: str = "x") -> Denoise:
    return Denoise(id=number, document="d", prefix=text, segments=(Free(), Clamped(text=text)))


def frame(value: object) -> bytes:
    body = msgpack.packb(value)
    return struct.pack(">I", len(body)) + body


@pytest.fixture
def ends() -> tuple[Connection, Connection]:
    """A peer and a runtime that have shaken hands."""
    peer, runtime = Connection(Role.PEER), Connection(Role.RUNTIME)
    runtime.receive(peer.send(HELLO))
    peer.receive(runtime.send(WELCOME))
    return peer, runtime


def test_a_conversation_byte_by_byte(ends: tuple[Connection, Connection]) -> None:
    peer, runtime = ends
    asked = [denoise(1, "äöü 漢字 🦜"), GetStatus(), denoise(2), Cancel(id=2)]
    stream = b"".join(peer.send(message) for message in asked)
    heard = [m for byte in stream for m in runtime.receive(bytes([byte]))]
    assert heard == asked
    draft = Draft(
        id=1, candidate=0, step=1, max_steps=4, spans=((DraftToken("a", TokenState.SETTLED),),)
    )
    answers = [
        draft,
        Done(id=1, candidates=(), timings=TIMINGS),
        Failed(id=2, code=FailureCode.CANCELLED, message="m"),
    ]
    assert peer.receive(b"".join(runtime.send(message) for message in answers)) == answers
    assert not peer.open_requests
    assert not runtime.open_requests


RENOISE = Renoise(
    id=1,
    document="d",
    draft=7,
    spans=(
        (Kept(start=0, end=3), Free(tokens=2), Clamped(text="漢🦜"), Kept(start=5, end=9)),
        (),
    ),
    candidates=2,
    max_steps=4,
    deadline_ms=100,
    seed=2**40,
    draft_every_ms=0,
    doubt=True,
)


def test_going_on_from_a_draft_and_its_answer(ends: tuple[Connection, Connection]) -> None:
    peer, runtime = ends
    assert runtime.receive(peer.send(RENOISE)) == [RENOISE]
    candidate = Candidate(
        texts=("a🦜", ""),
        score=-0.5,
        lowest=0.25,
        steps=3,
        stopped="settled",
        draft=8,
        tokens=((SpanToken(1, 1.0), SpanToken(0, 0.25, -3.5), SpanToken(1, 0.5, 0.25)), ()),
    )
    done = Done(id=1, candidates=(candidate,), timings=TIMINGS)
    assert peer.receive(runtime.send(done)) == [done]
    assert not peer.open_requests
    with pytest.raises(LocalProtocolError, match="not larger"):
        peer.send(RENOISE)
    with pytest.raises(LocalProtocolError, match="direction"):
        runtime.send(RENOISE)
    gone = Failed(id=2, code=FailureCode.DRAFT_GONE, message="m")
    runtime.receive(peer.send(msgspec.structs.replace(RENOISE, id=2)))
    assert peer.receive(runtime.send(gone)) == [gone]


@pytest.mark.parametrize(
    "changes",
    [
        {"draft": "7"},
        {"draft": None},
        {"spans": [[5]]},
        {"spans": [{"type": "kept", "start": 0, "end": 1}]},
        {"spans": [[{"type": "kept", "start": 0}]]},
        {"spans": [[{"type": "kept", "start": 0.5, "end": 1}]]},
        {"spans": [[{"type": "cept", "start": 0, "end": 1}]]},
        {"spans": [[{"type": "clamped", "text": b"x"}]]},
        {"spans": None},
        {"document": 1},
        {"doubt": 1},
    ],
)
def test_a_broken_draft_request_is_the_other_sides_fault(
    ends: tuple[Connection, Connection], changes: dict[str, object]
) -> None:
    _, runtime = ends
    with pytest.raises(RemoteProtocolError, match="no message"):
        runtime.receive(frame(msgspec.to_builtins(RENOISE) | changes))
    assert runtime.state is State.CLOSED


def test_kept_tokens_are_no_segment_of_a_first_request(
    ends: tuple[Connection, Connection],
) -> None:
    _, runtime = ends
    wrong = msgspec.to_builtins(denoise()) | {"segments": msgspec.to_builtins(RENOISE.spans[0])}
    with pytest.raises(RemoteProtocolError, match="no message"):
        runtime.receive(frame(wrong))


@given(st.text(), st.text(), st.integers(0, 2**31), st.booleans())
def test_any_text_survives(prefix: str, suffix: str, seed: int, drafts: bool) -> None:
    peer, runtime = Connection(Role.PEER), Connection(Role.RUNTIME)
    runtime.receive(peer.send(HELLO))
    runtime.send(WELCOME)
    peer.state = State.OPEN
    message = Denoise(
        id=1,
        document="d",
        prefix=prefix,
        segments=(Clamped(text=suffix), Free(tokens=4, max_lines=1)),
        seed=seed,
        draft_every_ms=0 if drafts else None,
    )
    assert runtime.receive(peer.send(message)) == [message]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (struct.pack(">I", 2**32 - 1), "over the limit"),
        (struct.pack(">I", 3) + b"\xc1\xc1\xc1", "not msgpack"),
        (struct.pack(">I", 0), "not msgpack"),
        (frame([1, 2, 3]), "no message"),
        (frame({"type": "denoice"}), "no message"),
        (frame({"type": "denoise", "id": "one"}), "no message"),
        (frame({"type": "cancel", "id": 1.5}), "no message"),
        (frame({"no": "type"}), "no message"),
        (frame(msgspec.to_builtins(HELLO)), "after the handshake"),
        (frame(msgspec.to_builtins(WELCOME)), "no message"),  # a runtime's word from a peer
        (struct.pack(">I", 5) + b"\xdf\xff\xff\xff\xff", "not msgpack"),  # 4 billion entries
        (frame(msgpack.ExtType(1, b"x")), "not msgpack"),
        (struct.pack(">I", 200_000) + b"\x91" * 200_000, "not msgpack"),  # nested without end
    ],
)
def test_a_broken_frame_is_the_other_sides_fault(
    ends: tuple[Connection, Connection], raw: bytes, says: str
) -> None:
    _, runtime = ends
    with pytest.raises(RemoteProtocolError, match=says):
        runtime.receive(raw)
    assert runtime.state is State.CLOSED
    with pytest.raises(RemoteProtocolError, match="closed"):
        runtime.receive(b"more")


def test_no_request_before_the_handshake() -> None:
    runtime = Connection(Role.RUNTIME)
    with pytest.raises(RemoteProtocolError, match="before the handshake"):
        runtime.receive(frame(msgspec.to_builtins(denoise())))
    with pytest.raises(LocalProtocolError, match="before the handshake"):
        Connection(Role.PEER).send(denoise())


def test_a_cut_frame_is_told_at_the_end(ends: tuple[Connection, Connection]) -> None:
    peer, runtime = ends
    assert runtime.receive(peer.send(denoise())[:-1]) == []
    with pytest.raises(RemoteProtocolError, match="inside a frame"):
        runtime.receive_eof()
    peer.receive_eof()  # a clean end is none of an error


def test_ids_grow_and_answers_come_once(ends: tuple[Connection, Connection]) -> None:
    peer, runtime = ends
    runtime.receive(peer.send(denoise(5)))
    with pytest.raises(LocalProtocolError, match="not larger"):
        peer.send(denoise(5))
    done = Done(id=5, candidates=(), timings=TIMINGS)
    peer.receive(runtime.send(done))
    with pytest.raises(LocalProtocolError, match="not open"):
        runtime.send(done)
    with pytest.raises(RemoteProtocolError, match="not open"):
        peer.receive(frame(msgspec.to_builtins(done)))


def test_a_message_too_large_is_refused_before_it_leaves() -> None:
    peer = Connection(Role.PEER, max_frame_bytes=100)
    peer.send(HELLO)
    peer.state = State.OPEN
    with pytest.raises(LocalProtocolError, match="over the frame limit"):
        peer.send(denoise(1, "x" * 200))


def test_errors_never_quote_text(ends: tuple[Connection, Connection]) -> None:
    _, runtime = ends
    secret = {"type": "denoise", "id": 1, "document": "d", "prefix": 5, "segments": ["hunter2"]}
    with pytest.raises(RemoteProtocolError) as caught:
        runtime.receive(frame(secret))
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=300))
def test_random_bytes_never_hang_or_escape(raw: bytes) -> None:
    runtime = Connection(Role.RUNTIME)
    try:
        runtime.receive(raw)
        runtime.receive_eof()
    except ProtocolError:
        assert runtime.state is State.CLOSED


def test_refusals() -> None:
    def code(hello: Hello, token: str) -> RefusalCode | None:
        refused = refusal(hello, token)
        return None if refused is None else refused[0]

    assert code(HELLO, "t") is None
    assert code(HELLO, "other") is RefusalCode.TOKEN
    assert PROTOCOL_VERSION == 4  # with spans that begin as a text, and context
    older = msgspec.structs.replace(HELLO, protocol=PROTOCOL_VERSION - 1)
    assert code(older, "t") is RefusalCode.PROTOCOL
    newer = msgspec.structs.replace(HELLO, protocol=PROTOCOL_VERSION + 1)
    assert code(newer, "t") is RefusalCode.PROTOCOL
    assert code(newer, "other") is RefusalCode.TOKEN  # strangers learn nothing but that
    peer = Connection(Role.PEER)
    peer.send(HELLO)
    refused = Refused(code=RefusalCode.TOKEN, reason="r", protocol=9, release="9", pid=1)
    peer.receive(frame(msgspec.to_builtins(refused)))
    assert peer.state is State.CLOSED

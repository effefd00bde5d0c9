"""Addresses and tokens that people write: what is read, and what is refused with which words."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_wire import address
from dgemma_wire.address import Address, parse_address, read_token, token_for_listening
from dgemma_wire.errors import AddressError

TOKEN = "t" * address.MIN_TOKEN_CHARS


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("tcp://127.0.0.1:7777", Address(host="127.0.0.1", port=7777)),
        ("tcp://127.0.0.1:7777/", Address(host="127.0.0.1", port=7777)),
        ("127.0.0.1:7777", Address(host="127.0.0.1", port=7777)),
        ("localhost:0", Address(host="localhost", port=0)),
        ("tcp://[::1]:9", Address(host="::1", port=9)),
        ("unix:///run/user/1000/d.sock", Address(path="/run/user/1000/d.sock")),
    ],
)
def test_read(text: str, read: Address) -> None:
    assert parse_address(text) == read
    assert parse_address(str(read)) == read


def test_a_home_in_a_socket_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_address("unix://~/d.sock") == Address(path="/home/me/d.sock")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7777",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:77 77",
        "tcp://127.0.0.1:7777/path",
        "tcp://me:secret@host:7777",
        "tcp://::1:7777",
        "http://127.0.0.1:7777",
        "unix://d.sock",
        "unix://",
        "unix:///" + "d" * 200,
        "tcp://127.0.0.1:7777\n",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse_address(text)
    assert len(str(raised.value)) > 20


@given(st.text(max_size=40))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        read = parse_address(text)
    except AddressError:
        return
    assert (read.path is None) == bool(read.host)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:///x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.2:1", False),
        ("gpu-host:1", False),
        ("localhost.example.com:1", False),
        ("127.0.0.1.example.com:1", False),
        ("host.docker.internal:1", False),
    ],
)
def test_what_stays_on_this_machine(text: str, private: bool) -> None:
    read = parse_address(text)
    assert read.private == private
    address.check_private(read, allowed=True, allow="a flag")
    if private:
        address.check_private(read, allowed=False, allow="a flag")
        return
    with pytest.raises(AddressError) as raised:
        address.check_private(read, allowed=False, allow="the flag --anyway")
    assert f"ssh -N -o ExitOnForwardFailure=yes -L {read.port}:127.0.0.1:{read.port}" in str(
        raised.value
    )
    assert "--anyway" in str(raised.value)
    assert "encrypted" in str(raised.value)


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = token_file(tmp_path, "u" * 40)
    assert read_token(file, {}) == "u" * 40
    assert read_token(file, {"DGEMMA_TOKEN": TOKEN}) == TOKEN


def token_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_line_end_is_no_part_of_it(tmp_path: Path, end: str) -> None:
    assert read_token(token_file(tmp_path, TOKEN + end), {}) == TOKEN


@pytest.mark.skipif(os.name == "nt", reason="modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o622])
def test_others_may_not_read_it(tmp_path: Path, mode: int) -> None:
    with pytest.raises(AddressError, match="chmod 600"):
        read_token(token_file(tmp_path, TOKEN, mode), {})


@pytest.mark.parametrize(
    "text", ["", "curt-word", "a b " * 20, "x" * 2000, "ü" * 40, "\x00" * 40, f"{TOKEN}\n{TOKEN}"]
)
def test_what_is_no_token(tmp_path: Path, text: str) -> None:
    with pytest.raises(AddressError) as raised:
        read_token(token_file(tmp_path, text), {})
    assert "token" in str(raised.value)
    assert not text.strip() or text.strip() not in str(raised.value)


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="Copy it from the machine with the runtime"):
        read_token(tmp_path / "none", {})
    with pytest.raises(AddressError, match="cannot be read"):
        read_token(tmp_path, {})  # a folder


def test_listening_makes_a_token_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    first = token_for_listening(path, {})
    assert token_for_listening(path, {}) == first == read_token(path, {})
    assert len(first) >= address.MIN_TOKEN_CHARS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["token"]
    assert token_for_listening(tmp_path / "other", {"DGEMMA_TOKEN": TOKEN}) == TOKEN
    assert not (tmp_path / "other").exists()

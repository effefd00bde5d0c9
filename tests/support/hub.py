"""A model hub on this machine, for tests alone: real HTTP, and every way to misbehave.

Serves the listing and the files of one repository. ``Faults`` says what goes wrong, by file name;
what was asked for is kept in ``asked``.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

REPOSITORY = "google/diffusiongemma-26B-A4B-it"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCK = 4096


@dataclass
class Faults:
    """What goes wrong; counts go down as it happens, and -1 is always."""

    drop_after: dict[str, int] = field(default_factory=dict)
    """Bytes after which the connection of a file is cut, as often as ``drops`` says."""
    drops: int = 1
    wrong: dict[str, int] = field(default_factory=dict)
    """How often a file's bytes are changed on the way."""
    statuses: list[int] = field(default_factory=list)
    """Answers instead of the next files."""
    listing_statuses: list[int] = field(default_factory=list)
    retry_after: str = ""
    no_ranges: bool = False
    wrong_range: bool = False
    pause_s: float = 0.0
    """Between blocks of ``BLOCK`` bytes."""
    longer: int = 0
    """Bytes more than the listing says."""
    redirect: str = ""
    """Address that files are to be had from."""
    moved: bool = False
    """Every path is to be had under another one of this hub."""
    listing: bytes | None = None
    token: str = ""
    """What is asked for, as a bearer's token."""


class TinyHub:
    """One repository, served until the block ends."""

    def __init__(self, files: dict[str, bytes], commit: str = COMMIT) -> None:
        self.files = files
        self.commit = commit
        self.faults = Faults()
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.busy = threading.Event()
        """Set when the first block of a file was sent."""
        self.lock = threading.Lock()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> TinyHub:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def files_asked(self) -> list[str]:
        """Names of the files that were asked for, in order."""
        return [path.rsplit("/", 1)[1] for path, _, _ in self.asked if "/resolve/" in path]

    def listing(self) -> dict[str, Any]:
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if name.endswith((".safetensors", "tokenizer.json")):
                digest = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 135}
            siblings.append(entry)
        return {"id": REPOSITORY, "sha": self.commit, "siblings": siblings}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        if self.faults.moved and not path.startswith("/moved"):
            request.send_response(307)
            request.send_header("Location", "/moved" + request.path)
            request.send_header("Content-Length", "0")
            return request.end_headers()
        path = path.removeprefix("/moved")
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self.lock:
            self.asked.append((path, request.path, headers))
        faults = self.faults
        if faults.token and headers.get("authorization") != f"Bearer {faults.token}":
            return self.status(request, 401)
        if path.startswith("/api/models/"):
            if faults.listing_statuses:
                return self.status(request, faults.listing_statuses.pop(0))
            data = json.dumps(self.listing()).encode()
            return self.send(request, 200, faults.listing or data)
        name = path.rsplit("/", 1)[-1]
        if faults.redirect:
            request.send_response(302)
            request.send_header("Location", faults.redirect + request.path)
            request.send_header("Content-Length", "0")
            return request.end_headers()
        with self.lock:
            status = faults.statuses.pop(0) if faults.statuses else 0
        if status:
            return self.status(request, status)
        if f"/resolve/{self.commit}/" not in path or name not in self.files:
            return self.status(request, 404)
        return self.file(request, name, headers.get("range"))

    def file(self, request: BaseHTTPRequestHandler, name: str, wanted: str | None) -> None:
        faults, data = self.faults, self.files[name]
        with self.lock:
            if faults.wrong.get(name, 0):
                faults.wrong[name] -= 1
                data = bytes([data[0] ^ 1]) + data[1:]
            cut = faults.drop_after.get(name) if faults.drops else None
            if cut is not None:
                faults.drops -= 1
        data += b"!" * faults.longer
        start = 0
        if wanted is not None and not faults.no_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        request.send_response(206 if start else 200)
        if start:
            said = start + 1 if faults.wrong_range else start
            request.send_header("Content-Range", f"bytes {said}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        body = data[start:] if cut is None else data[start : start + cut]
        for at in range(0, len(body), BLOCK):
            try:
                request.wfile.write(body[at : at + BLOCK])
                request.wfile.flush()
            except OSError:
                return
            self.busy.set()
            time.sleep(faults.pause_s)
        if cut is not None:
            request.close_connection = True

    def status(self, request: BaseHTTPRequestHandler, status: int) -> None:
        request.send_response(status)
        if self.faults.retry_after:
            request.send_header("Retry-After", self.faults.retry_after)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def send(self, request: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return a folder's files as a hub has them."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

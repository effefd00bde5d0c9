"""A server with vLLM's routes over HTTP or HTTPS, for tests alone: it checks what it is sent.

Requests are checked as vLLM checks them (decision record 13 names the files), and more strictly in
two ways: fields and ``vllm_xargs`` that vLLM would ignore are refused, since one of ours that is
misspelt would be ignored too. Canvases are filled by a function of the seeds; the model behind it
is a script. ``faults`` are acted on one per request, in order: a number is a status, ``drop`` cuts
the connection, ``late`` answers after ``late_s``, ``half`` cuts the answer in two.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Fill = Callable[[list[int], list[int]], tuple[list[int], list[float]]]
"""From the prompt and the free positions to their tokens and log-probabilities."""

KNOWN = {
    "model": str,
    "prompt": list,
    "add_special_tokens": bool,
    "max_tokens": int,
    "ignore_eos": bool,
    "skip_special_tokens": bool,
    "stream": bool,
    "logprobs": int,
    "return_token_ids": bool,
    "return_tokens_as_token_ids": bool,
    "cache_salt": str,
    "vllm_xargs": dict,
}
REFUSED = ("temperature", "min_p", "seed", "min_tokens", "logit_bias", "bad_words")
XARGS = {
    "diffusion_seed_canvas",
    "diffusion_pinned",
    "diffusion_max_steps",
    "diffusion_canvas_length",
}


class Invalid(Exception):
    """What a request is refused for."""


def whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass
class TinyVllm:
    """What one server serves, and how it fails.

    Attributes:
        fill: Denoises.
        encode: Tokenises.
        canvas: Width it was started with; ``None`` when it was started without naming one.
        kind: ``fits``; ``ignores`` knows no pins; ``scalars`` takes no lists in ``vllm_xargs``.
        seen: Bodies of completions that were accepted.
    """

    fill: Fill
    encode: Callable[[str], list[int]]
    model: str = "diffusiongemma"
    others: tuple[str, ...] = ()
    vocab: int = 512
    canvas: int | None = 256
    max_model_len: int = 8192
    version: str = "0.33.0"
    kind: str = "fits"
    key: str | None = None
    says_token_ids: bool = True
    tokenizes: bool = True
    redirect: str = ""
    retry_after: str = "0"
    late_s: float = 0.5
    faults: list[int | str] = field(default_factory=list)
    unwell: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    gave_up: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    server: ThreadingHTTPServer | None = None
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        assert self.server is not None
        scheme = "https" if isinstance(self.server.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server.server_port}"

    def up(self, port: int = 0, certificate: Path | None = None) -> TinyVllm:
        one = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                one.connections.append(self.connection)

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                one.get(self)

            def do_POST(self) -> None:
                one.post(self)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # a client that hangs up in the middle is what many tests are about

        self.server = Quiet(("127.0.0.1", port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def down(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    # -- routes -------------------------------------------------------------------------------

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(f"GET {handler.path}")
        if handler.path == "/health":
            self.say(handler, 503 if self.unwell else 200, b"")
        elif self.redirect:
            self.say(handler, 307, b"", {"location": self.redirect + handler.path})
        elif handler.path == "/version":
            self.say(handler, 200, {"version": self.version})
        elif not self.allowed(handler):
            self.say(handler, 401, {"error": "Unauthorized"})
        elif handler.path == "/v1/models":
            names = (self.model, *self.others)
            data = [{"id": name, "max_model_len": self.max_model_len} for name in names]
            self.say(handler, 200, {"object": "list", "data": data})
        else:
            self.say(handler, 404, {"detail": "Not Found"})

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(f"POST {handler.path}")
        raw = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        if self.redirect:
            self.say(handler, 307, b"", {"location": self.redirect + handler.path})
            return
        if not self.allowed(handler):
            self.say(handler, 401, {"error": "Unauthorized"})
            return
        body = json.loads(raw)
        if body.get("model") not in (self.model, *self.others):
            told = f"The model `{body.get('model')}` does not exist."
            self.say(handler, 404, {"error": {"message": told, "code": 404}})
        elif handler.path == "/tokenize" and self.tokenizes:
            assert body["add_special_tokens"] is False
            ids = self.encode(body["prompt"])
            answer = {"tokens": ids, "count": len(ids), "max_model_len": self.max_model_len}
            self.say(handler, 200, answer)
        elif handler.path == "/v1/completions":
            self.complete(handler, body)
        else:
            self.say(handler, 404, {"detail": "Not Found"})

    def complete(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        try:
            width = self.check(body)
        except Invalid as err:
            told = {"message": str(err), "type": "BadRequestError", "code": 400}
            self.say(handler, 400, {"error": told})
            return
        with self.lock:
            self.seen.append(body)
            fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            told = {"message": "the engine says no", "type": "error", "code": fault}
            self.say(handler, fault, {"error": told}, {"retry-after": self.retry_after})
            return
        if fault == "drop":
            handler.connection.shutdown(2)
            handler.close_connection = True
            return
        if fault == "late" and self.hung_up(handler, self.late_s):
            self.gave_up.set()
            handler.close_connection = True
            return
        answer = self.answer(body, width)
        if fault == "half":
            text = json.dumps(answer).encode()
            handler.send_response(200)
            handler.send_header("content-length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text[: len(text) // 2])
            handler.close_connection = True
            return
        if fault == "nonsense":
            self.say(handler, 200, b"<html>a proxy's page</html>")
            return
        if fault == "short":
            answer["choices"][0]["token_ids"].pop()
        self.say(handler, 200, answer)

    @staticmethod
    def hung_up(handler: BaseHTTPRequestHandler, seconds: float) -> bool:
        """Wait, as long as somebody waits for the answer."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([handler.connection], [], [], min(left, 0.05))
            if ready:
                return True
        return False

    def allowed(self, handler: BaseHTTPRequestHandler) -> bool:
        return self.key is None or handler.headers.get("authorization") == f"Bearer {self.key}"

    @staticmethod
    def say(
        handler: BaseHTTPRequestHandler,
        status: int,
        body: Any,
        headers: dict[str, str] | None = None,
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    # -- what vLLM does -----------------------------------------------------------------------

    def check(self, body: dict[str, Any]) -> int:
        """Check a completion; returns the width of its canvas."""

        def must(valid: bool, told: str) -> None:
            if not valid:
                raise Invalid(told)

        given = body.get("vllm_xargs") or {}
        for name in REFUSED:
            must(name not in body, f"{name} is not yet supported with diffusion models.")
        for name, value in body.items():
            must(name in KNOWN, f"{name} is not known (vLLM would ignore it).")
            must(type(value) is KNOWN[name], f"{name} is of type {type(value).__name__}.")
        prompt = body["prompt"]
        must(bool(prompt) and all(whole(t) and 0 <= t < self.vocab for t in prompt), "prompt")
        for name in given:
            must(name in XARGS, f"vllm_xargs has {name} (vLLM would ignore it).")
        if self.kind == "scalars":
            must(
                not any(isinstance(value, list) for value in given.values()),
                "vllm_xargs: Input should be a valid string",
            )
        if self.kind != "fits":
            return self.canvas or 256
        width = given.get("diffusion_canvas_length")
        must(
            width is None
            or (whole(width) and width > 0 and (self.canvas is None or width <= self.canvas)),
            "diffusion_canvas_length must be a positive integer no larger than the served canvas.",
        )
        expected = width or self.canvas
        seeds = given.get("diffusion_seed_canvas")
        if seeds is not None:
            must(
                isinstance(seeds, list) and all(whole(t) for t in seeds),
                "diffusion_seed_canvas must be a list of token ids.",
            )
            must(
                all(0 <= t < self.vocab for t in seeds),
                f"diffusion_seed_canvas ids must be in [0, {self.vocab}).",
            )
            must(
                expected is None or len(seeds) == expected,
                f"diffusion_seed_canvas must hold exactly {expected} ids, got {len(seeds)}.",
            )
        pins = given.get("diffusion_pinned")
        if pins is not None:
            must(
                isinstance(pins, list) and all(whole(p) for p in pins),
                "diffusion_pinned must be a list of canvas positions.",
            )
            must(seeds is not None, "diffusion_pinned needs a diffusion_seed_canvas to hold.")
            must(
                all(p >= 0 and (expected is None or p < expected) for p in pins),
                "diffusion_pinned positions must lie inside the canvas.",
            )
        steps = given.get("diffusion_max_steps")
        must(
            steps is None or (whole(steps) and steps > 0),
            "diffusion_max_steps must be a positive integer.",
        )
        must(
            len(prompt) + body["max_tokens"] <= self.max_model_len,
            f"This model's maximum context length is {self.max_model_len} tokens.",
        )
        return expected or 32

    def answer(self, body: dict[str, Any], width: int) -> dict[str, Any]:
        given = (body.get("vllm_xargs") or {}) if self.kind == "fits" else {}
        seeds = given.get("diffusion_seed_canvas") or [0] * width
        pinned = set(given.get("diffusion_pinned") or ())
        free = [i for i in range(width) if i not in pinned]
        made, nats = self.fill(body["prompt"], free)
        ids, told = list(seeds), [-0.001] * width
        for place, token, nat in zip(free, made, nats, strict=True):
            ids[place], told[place] = token, nat
        ids, told = ids[: body["max_tokens"]], told[: body["max_tokens"]]
        choice: dict[str, Any] = {
            "index": 0,
            "text": "",
            "finish_reason": "length",
            "logprobs": {"tokens": [f"token_id:{i}" for i in ids], "token_logprobs": told},
        }
        if self.says_token_ids:
            choice["token_ids"] = ids
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "model": self.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(body["prompt"]),
                "prompt_tokens_details": {"cached_tokens": 3},
            },
        }


@contextmanager
def serving(*servers: TinyVllm, certificate: Path | None = None) -> Iterator[None]:
    """Servers for the length of a test."""
    try:
        for one in servers:
            one.up(certificate=certificate)
        yield
    finally:
        for one in servers:
            one.down()


def make_certificates(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make an authority and a server's certificate; returns the authority's and the server's."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    alternative = f"IP:{name}" if name[0].isdigit() else f"DNS:{name}"
    (folder / "leaf.cnf").write_text(
        f"subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n"
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"),
        *("-subj", "/CN=An authority of a test", "-addext", "keyUsage=critical,keyCertSign"),
    )
    openssl("req", *curve, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", f"/CN={name}")
    openssl(
        *("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
        *("-extfile", "leaf.cnf", "-out", "leaf.pem", "-CAcreateserial"),
    )
    both = folder / "server.pem"
    both.write_text((folder / "leaf.key").read_text() + (folder / "leaf.pem").read_text())
    return folder / "ca.pem", both

"""The first words with the servers: which of them serve the model, and hold a canvas in place.

A server that does not know pinned positions ignores them and answers with any text, so it is asked
before it gets a request. Nothing that is sent here is anybody's source.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass

from dgemma_runtime.models.base import ModelSpec
from dgemma_runtime.remote.contract import (
    SAMPLE,
    Served,
    probe,
    read_models,
    read_probe,
    read_refusal,
    read_tokens,
)
from dgemma_runtime.remote.pool import Pool, Server, Unanswered, Unfit, explain
from dgemma_runtime.text import Codec
from dgemma_wire.errors import ModelError

log = logging.getLogger(__name__)

LEAST_VERSION = "0.33"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What all servers that fit have in common.

    Attributes:
        model: Name they serve it by.
        canvas_tokens: Width of the narrowest canvas.
        max_tokens: Prompt and canvas together, at most; ``None`` when none said.
        versions: Of vLLM, for a person.
    """

    model: str
    canvas_tokens: int
    max_tokens: int | None
    versions: str


@dataclass(frozen=True, slots=True)
class _Found:
    served: Served
    canvas_tokens: int
    version: str


async def greet(pool: Pool, codec: Codec, spec: ModelSpec) -> Greeting:
    """Ask every server who it is; those that do not fit are not asked again.

    Raises:
        ModelError: None fits; the text says why for each.
    """
    results = await asyncio.gather(
        *(_ask(pool, server, codec, spec) for server in pool.states), return_exceptions=True
    )
    found: list[_Found] = []
    failures: list[str] = []
    for server, result in zip(pool.states, results, strict=True):
        if isinstance(result, _Found):
            server.greeted = True
            found.append(result)
            continue
        if not isinstance(result, (Unanswered, Unfit)):
            raise result
        failures.append(str(result).removesuffix("."))
        if isinstance(result, Unfit):
            server.barred = failures[-1]
        else:  # it may come back, and is looked at again then
            server.problem = failures[-1]
    if not found:
        raise ModelError(f"{'; '.join(failures)}.")
    for failure in failures:
        log.warning("not used: %s", failure)
    names = dict.fromkeys(one.served.name for one in found)
    if len(names) > 1:
        raise ModelError(
            f"The servers serve different models, {' and '.join(names)}; name one: #NAME at the "
            f"end of the addresses."
        )
    first = found[0]

    async def admit(server: Server) -> None:
        late = await _ask(pool, server, codec, spec)
        if late.served.name != first.served.name or late.canvas_tokens < canvas:
            raise Unfit(
                f"{server.url} serves {late.served.name}, canvas {late.canvas_tokens}; the "
                f"others serve {first.served.name}, canvas {canvas}"
            )

    canvas = min(spec.layout.canvas_tokens, *(one.canvas_tokens for one in found))
    pool.admit = admit
    limits = [one.served.max_tokens for one in found if one.served.max_tokens is not None]
    versions = ", ".join(dict.fromkeys(f"vLLM {one.version}" for one in found))
    return Greeting(
        first.served.name,
        canvas,
        min(limits) if limits else None,
        versions,
    )


async def _ask(pool: Pool, server: Server, codec: Codec, spec: ModelSpec) -> _Found:
    """Ask one server who it is.

    Raises:
        Unanswered: It cannot be reached.
        Unfit: It is not what is needed.
    """
    reply = await pool.request(server, "GET", "/v1/models")
    if reply.status != 200:
        raise Unfit(explain(server.url, reply, pool.servers.model or "the model")[0])
    listed = read_models(reply.body)
    if not listed:
        raise Unfit(f"{server.url} lists no models; it is no vLLM server")
    served = _named(server.url, listed, pool.servers.model)
    version = await _version(pool, server)

    body = probe(served.name, spec.start_ids)
    reply = await pool.request(server, "POST", "/v1/completions", body)
    if reply.status not in (200, 400, 422):
        raise Unfit(explain(server.url, reply, served.name)[0])
    probed = read_probe(reply.status, read_refusal(reply.body))
    if not probed.fits:
        raise Unfit(
            f"{server.url} (vLLM {version}) does not hold parts of a canvas in place: it needs "
            f"vLLM {LEAST_VERSION} or later, serving DiffusionGemma"
        )
    if not probed.canvas_tokens:
        raise Unfit(
            f"{server.url} does not say how wide its canvas is; start it with "
            f"--diffusion-config '{{\"canvas_length\": {spec.layout.canvas_tokens}}}'"
        )
    await _check_tokenizer(pool, server, served.name, codec)
    return _Found(served, probed.canvas_tokens, version)


def _named(url: str, listed: list[Served], name: str) -> Served:
    names = ", ".join(one.name for one in listed)
    if not name and len(listed) > 1:
        raise Unfit(f"{url} serves {names}; name one of them: #NAME at the end of the addresses")
    found = next((one for one in listed if not name or one.name == name), None)
    if found is None:
        raise Unfit(f"{url} does not serve {name!r}; it serves {names}")
    return found


async def _version(pool: Pool, server: Server) -> str:
    reply = await pool.request(server, "GET", "/version")
    try:
        told = json.loads(reply.body)["version"] if reply.status == 200 else "of unknown version"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "of unknown version"
    return str(told)[:40]


async def _check_tokenizer(pool: Pool, server: Server, model: str, codec: Codec) -> None:
    """Compare the server's tokenizer with the one here; one that does not tell is trusted."""
    body = {"model": model, "prompt": SAMPLE, "add_special_tokens": False}
    reply = await pool.request(server, "POST", "/tokenize", body)
    tokens = read_tokens(reply.body) if reply.status == 200 else None
    if tokens is None:
        log.warning("%s does not tell how it tokenises (HTTP %d)", server.url, reply.status)
    elif tokens != codec.encode(SAMPLE):
        raise Unfit(
            f"{server.url} tokenises otherwise than the tokenizer.json here: vllmFiles is of "
            f"another model than {model!r}"
        )

"""Plausible names to rename to. Plain data, shared by the languages."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

_SYNONYMS = {
    "result": ("output", "answer", "outcome", "res"),
    "res": ("result", "response", "output"),
    "ret": ("result", "answer", "output"),
    "value": ("val", "item", "entry", "content"),
    "val": ("value", "item", "number"),
    "data": ("payload", "content", "body", "raw"),
    "key": ("name", "field", "label"),
    "name": ("label", "title", "key"),
    "path": ("file_path", "location", "target"),
    "file": ("handle", "stream", "document"),
    "filename": ("path", "file_name", "target"),
    "i": ("index", "position", "n"),
    "index": ("position", "i", "offset"),
    "item": ("entry", "element", "thing"),
    "items": ("entries", "elements", "rows"),
    "line": ("row", "text", "record"),
    "lines": ("rows", "records", "content"),
    "node": ("element", "item", "vertex"),
    "args": ("arguments", "params", "options"),
    "kwargs": ("options", "keywords", "settings"),
    "config": ("settings", "options", "conf"),
    "options": ("settings", "config", "params"),
    "request": ("req", "query", "message"),
    "response": ("reply", "res", "answer"),
    "text": ("content", "body", "string"),
    "message": ("msg", "text", "note"),
    "msg": ("message", "text", "note"),
    "error": ("err", "failure", "problem"),
    "err": ("error", "failure", "problem"),
    "e": ("error", "exc", "event"),
    "obj": ("instance", "target", "thing"),
    "func": ("function", "callback", "handler"),
    "callback": ("handler", "on_done", "listener"),
    "count": ("total", "amount", "size"),
    "total": ("amount", "sum_all", "count"),
    "x": ("value", "left", "first"),
    "y": ("other", "right", "second"),
    "n": ("count", "number", "size"),
    "s": ("text", "string", "source"),
    "url": ("address", "link", "endpoint"),
    "user": ("account", "member", "person"),
    "start": ("begin", "first", "low"),
    "end": ("stop", "last", "high"),
}
_ANY = (
    "value",
    "item",
    "entry",
    "data",
    "result",
    "current",
    "target",
    "source",
    "content",
    "record",
    "element",
    "total",
    "amount",
    "buffer",
    "state",
    "info",
    "payload",
    "handle",
    "context",
    "settings",
    "other",
    "first",
    "parts",
    "field",
    "label",
    "token",
    "group",
    "limit",
    "cache",
    "batch",
)
_PREFIXES = ("new", "old", "current", "my", "raw", "last", "next", "input", "local", "base")
_SUFFIXES = ("value", "name", "list", "data", "info", "item", "id", "count", "text", "obj")


def another_name(name: str, taken: Collection[str], rng: Random) -> str | None:
    """A name to rename ``name`` to, in its style and not among ``taken``; ``None`` if in vain."""
    camel = any(char.isupper() for char in name[1:]) and "_" not in name and not name.isupper()
    for _ in range(6):
        draw = rng.random()
        if draw < 0.4 and name in _SYNONYMS:
            new = rng.choice(_SYNONYMS[name])
        elif draw < 0.65 and len(name) > 2 and not name.startswith("_") and not name.isupper():
            prefixed = rng.random() < 0.5
            pair = (rng.choice(_PREFIXES), name) if prefixed else (name, rng.choice(_SUFFIXES))
            new = "_".join(pair)
        else:
            new = rng.choice(_ANY)
        if camel:
            head, *rest = new.split("_")
            new = head + "".join(part[:1].upper() + part[1:] for part in rest)
        elif name.isupper() and len(name) > 1:
            new = new.upper()
        if new != name and new not in taken and len(new) <= 24:
            return new
    return None

"""Errors of a schema in words, short and without the document's values."""

from __future__ import annotations

import json
from typing import cast

from dgemma_lsp.schemas.validator import SchemaError

_CHARS = 160
_MANY = 6


def message(error: SchemaError) -> str:
    """Say where a document breaks its schema, and what the schema wants there."""
    path = ".".join(str(step) for step in error.path)
    text = _wanted(error)
    said = f"`{path}`: {text}" if path else text
    return said if len(said) <= _CHARS else said[: _CHARS - 1] + "…"


def _wanted(error: SchemaError) -> str:
    wanted = error.expected
    match error.keyword:
        case "type":
            kinds = _list(wanted)
            return "must be of type " + " or ".join(str(kind) for kind in kinds)
        case "enum":
            values = [json.dumps(value, ensure_ascii=False) for value in _list(wanted)]
            more = ", …" if len(values) > _MANY else ""
            return "must be one of " + ", ".join(values[:_MANY]) + more
        case "const":
            return "must be " + json.dumps(wanted, ensure_ascii=False)
        case "required":
            held = cast("dict[str, object]", error.instance)
            return "lacks " + ", ".join(f"`{name}`" for name in _list(wanted) if name not in held)
        case "additionalProperties" | "unevaluatedProperties" if error.names:
            return "has no property " + ", ".join(f"`{name}`" for name in error.names)
        case "pattern":
            return f"must match {wanted}"
        case "anyOf" | "oneOf":
            return "is none of the things that it may be"
        case "":
            return "is not allowed"
        case keyword:
            return f"breaks the rule `{keyword}` of the schema"


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]

"""The one place that knows the ``jsonschema`` library: a schema in memory to plain errors.

References lead to other files only through a function that is given; what cannot be had is taken
to allow anything. The library's own way to fetch addresses is never reached, since it is used only
where no registry is given. Bounded in time; patterns that could take for ever are left out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import jsonschema.validators
import referencing
import referencing.jsonschema
from referencing.exceptions import NoSuchResource, Unresolvable
from referencing.jsonschema import DRAFT202012

from dgemma_lsp.schemas.patterns import MAX_MATCHED, usable

MAX_ERRORS = 200
"""Errors looked at; a document with more breaks its schema throughout."""

_CHECK_S = 0.1
"""How long a schema itself is checked; what has been seen by then must do."""

clock = time.thread_time
"""Seconds of this thread's own work: what is found does not depend on what else is running."""

_MAX_DEPTH = 120
"""Keywords within keywords, of some four calls each: a reference may lead back to itself.

The library's own data structures abort, rather than raise, where Python's stack ends.
"""

_MAPS = frozenset(
    {"properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies"}
)
"""Keywords whose value holds schemas by names of the schema's own."""

_ADDRESSES = ("$id", "id", "$anchor", "$dynamicAnchor")

_LITERALS = frozenset({"enum", "const", "default", "examples"})

Retrieve = Callable[[str], object]
"""The contents of the file that an address names.

Raises:
    LookupError: It is not to be had.
"""


class BadSchema(Exception):
    """A schema that cannot be used; the text says why."""


class OutOfTime(Exception):
    """The comparison took longer than it may."""


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One thing in which a document breaks its schema.

    Attributes:
        path: Where, as keys and indices.
        keyword: The keyword of the schema; empty where the schema allows nothing at all.
        schema_path: Where in the schema.
        expected: The keyword's value.
        schema: The schema that has the keyword.
        instance: What is wrong.
        names: The properties that are unexpected, where that is what is wrong.
        branches: For a choice between schemas, the errors of each.
    """

    path: tuple[str | int, ...]
    keyword: str
    schema_path: tuple[str | int, ...]
    expected: object
    schema: dict[str, object]
    instance: object
    names: tuple[str, ...] = ()
    branches: tuple[tuple[SchemaError, ...], ...] = ()


class Validator:
    """A schema that is ready to compare with.

    Args:
        contents: The schema as it was read.
        uri: Its address; relative references start there.
        retrieve: Gives other files' contents.

    Raises:
        BadSchema: It is none.
    """

    def __init__(self, contents: object, uri: str, retrieve: Retrieve) -> None:
        if not isinstance(contents, dict | bool):
            raise BadSchema("a schema is an object, true or false")
        self._until = float("inf")
        self._depth = 0
        self._looked_at: Container[int] | None = None
        given = cast("object", contents)
        base = _dialect(given)
        self._check(base, given)
        try:
            schema, own_id = _ready(given)
        except RecursionError as err:
            raise BadSchema("it is nested too deep") from err
        try:
            specification = referencing.jsonschema.specification_with(
                base.META_SCHEMA.get("$schema", ""), default=DRAFT202012
            )
            root = specification.create_resource(schema)
            known = [(uri, root), *([(own_id, root)] if own_id else [])]
            registry: Any = cast("Any", referencing.Registry)(retrieve=_resources(retrieve))
            registry = registry.with_resources(known)
            if _has_addresses(schema):
                registry = registry.crawl()  # else the library does it at every comparison
            self._validator: Any = self._bounded(base)(
                schema, registry=registry, _resolver=registry.resolver(uri)
            )
        except (Unresolvable, ValueError, TypeError, AttributeError, RecursionError) as err:
            raise BadSchema(f"its identifiers cannot be used ({type(err).__name__})") from err

    def errors(
        self, data: object, until: float, looked_at: Container[int] | None = None
    ) -> tuple[SchemaError, ...]:
        """Compare a value with the schema.

        Args:
            data: The value, in Python's types.
            until: When it must be done, by ``clock``.
            looked_at: Identities of the objects and arrays that are compared; of any other only
                the type is. ``None`` for all.

        Raises:
            OutOfTime: It was not.
            BadSchema: The schema turned out to be none.
        """
        self._until, self._depth, self._looked_at = until, 0, looked_at
        try:
            found: Iterator[Any] = self._validator.iter_errors(data)
            return tuple(_plain(error, ()) for error in islice(found, MAX_ERRORS))
        except OutOfTime:
            raise
        except Exception as err:  # the library trusts schemas, and raises anything on bad ones
            raise BadSchema(f"{type(err).__name__} in comparing with it") from err

    def _check(self, base: Any, schema: object) -> None:
        self._until, self._depth = clock() + _CHECK_S, 0
        try:
            checker = self._bounded(base)(
                base.META_SCHEMA, registry=cast("Any", referencing.Registry)()
            )
            first = next(iter(checker.iter_errors(schema)), None)
        except (OutOfTime, RecursionError):
            return
        if first is not None:
            path = "/".join(str(step) for step in first.absolute_path)
            raise BadSchema(f"`{path or '/'}` breaks the rule `{first.validator}` of schemas")

    def _bounded(self, base: Any) -> Any:
        """The library's class with a look at the clock in every keyword."""
        # Not a method passed in: the library calls keywords with itself as the first argument.
        keywords = {name: self._keyword(name, rule) for name, rule in base.VALIDATORS.items()}
        library: Any = jsonschema.validators
        return library.extend(base, keywords)

    def _keyword(self, name: str, rule: Any) -> Any:
        def timed(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            if clock() > self._until or self._depth > _MAX_DEPTH:
                raise OutOfTime
            self._depth += 1
            try:
                yield from rule(validator, value, instance, schema) or ()
            finally:
                self._depth -= 1

        def reference(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            try:
                yield from timed(validator, value, instance, schema)
            except Unresolvable:
                return  # what is not to be had allows anything

        def pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            if isinstance(instance, str) and len(instance) <= MAX_MATCHED:
                yield from timed(validator, value, instance, schema)

        def condition(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            # A condition holds or not for the whole of a value, also where its parts do not count.
            looked_at, self._looked_at = self._looked_at, None
            try:
                holds = not any(True for _ in validator.descend(instance, value))
            finally:
                self._looked_at = looked_at
            branch = "then" if holds else "else"
            if branch in schema:
                yield from validator.descend(instance, schema[branch], schema_path=branch)

        special = {"pattern": pattern, "if": condition, "$ref": reference}
        special.update(dict.fromkeys(("$dynamicRef", "$recursiveRef"), reference))
        chosen = special.get(name, timed)

        def within(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            held, here = self._looked_at, id(instance)
            if held is not None and here not in held and isinstance(instance, dict | list):
                return ()
            return chosen(validator, value, instance, schema)

        return chosen if name == "type" else within


def _dialect(contents: object) -> Any:
    """The library's class for the draft that a schema is written in; the newest by default."""
    newest: Any = jsonschema.validators.Draft202012Validator
    if not isinstance(contents, dict):
        return newest
    named = cast("dict[str, object]", contents).get("$schema")
    if not isinstance(named, str):
        return newest
    find: Any = jsonschema.validators.validator_for
    return find({"$schema": named}, default=newest)


def _ready(contents: object) -> tuple[Any, str]:
    """A schema without risky patterns and without its own address, and that address.

    References are meant beside the file, whatever address it was published under.
    """
    schema: Any = _without_risky(contents)
    own: object = None
    if isinstance(contents, dict):
        own = schema.pop("$id", None) or schema.pop("id", None)
    return schema, own.rstrip("#") if isinstance(own, str) else ""


def _has_addresses(schema: Any) -> bool:
    """Whether more is to be found in a schema, or from it, than what paths lead to."""
    stack = [schema]
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack.extend(cast("list[Any]", one))
        elif isinstance(one, dict):
            held = cast("dict[str, Any]", one)
            if any(isinstance(held.get(name), str) for name in _ADDRESSES):
                return True
            if not str(held.get("$ref", "#")).startswith("#"):
                return True
            stack.extend(held.values())
    return False


def _resources(retrieve: Retrieve) -> Any:
    """Other files in the library's terms, each read once."""
    held: dict[str, Any] = {}

    def resource(address: str) -> Any:
        if address not in held:
            try:
                schema, _ = _ready(retrieve(address))
            except (LookupError, RecursionError) as err:
                raise NoSuchResource(ref=address) from err
            held[address] = referencing.Resource[Any].from_contents(
                schema, default_specification=DRAFT202012
            )
        return held[address]

    return resource


def _plain(error: Any, above: tuple[str | int, ...]) -> SchemaError:
    """A ``ValidationError`` as a value of ours; ``above`` leads to the value of its branch."""
    path = (*above, *error.path)
    # Errors of branches are grouped by the branch they come from, the head of their schema path.
    branches: dict[str | int, list[SchemaError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(_plain(inner, path))
    within: object = error.schema
    schema = cast("dict[str, Any]", within) if isinstance(within, dict) else {}
    keyword, instance = error.validator, error.instance
    names: tuple[str, ...] = ()
    if isinstance(instance, dict):
        keys = [str(key) for key in cast("dict[object, object]", instance)]
        if keyword == "additionalProperties":
            names = tuple(key for key in keys if not _foreseen(key, schema))
        elif keyword == "unevaluatedProperties":  # which ones, only the library's message says
            names = tuple(key for key in keys if repr(key) in error.message)
    return SchemaError(
        path,
        keyword if isinstance(keyword, str) else "",
        tuple(error.absolute_schema_path),
        error.validator_value,
        schema,
        cast("object", instance),
        names,
        tuple(tuple(found) for found in branches.values()),
    )


def _foreseen(name: str, schema: dict[str, Any]) -> bool:
    patterns: dict[str, Any] = schema.get("patternProperties", {})
    known: dict[str, Any] = schema.get("properties", {})
    return name in known or any(re.search(pattern, name) for pattern in patterns)


def _without_risky(schema: Any, *, names: bool = False) -> Any:
    """A copy of a schema without the patterns that cannot be used; what they hold for passes."""
    if isinstance(schema, list):
        return [_without_risky(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for name, value in cast("dict[str, Any]", schema).items():
        if names:
            made[name] = _without_risky(value)
        elif name in _LITERALS or (name == "pattern" and usable(value)):
            made[name] = value
        elif name == "pattern" and isinstance(value, str):
            continue
        elif name == "patternProperties" and isinstance(value, dict):
            held = cast("dict[str, Any]", _without_risky(value, names=True))
            made[name] = {key: held[key] for key in held if usable(key)}
            if len(made[name]) < len(held):
                made[name]["^"] = True  # any name may be one of those left out
        else:
            made[name] = _without_risky(value, names=name in _MAPS)
    return made

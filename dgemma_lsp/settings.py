"""The one schema of settings: names, defaults, ranges and descriptions.

Editors' manifests and docs/configuration.md are generated from here. ``runtime`` is the wire's own
``RuntimeSettings``, so a runtime setting exists once for editors, for the server and as a flag.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

import msgspec
from msgspec import Meta

from dgemma_wire.adapters import ID_PATTERN
from dgemma_wire.errors import SettingsError
from dgemma_wire.settings import RuntimeSettings

SECTION = "dgemma"
"""Name of the section that ``workspace/configuration`` is asked for."""

IGNORED_BY_DEFAULT = (
    "**/.env",
    "**/.env.*",
    "**/*.pem",
    "**/*.key",
    "**/*.p12",
    "**/*.pfx",
    "**/*.keystore",
    "**/*.kdbx",
    "**/id_rsa*",
    "**/id_ed25519*",
    "**/.netrc",
    "**/.pgpass",
    "**/.npmrc",
    "**/.pypirc",
    "**/.aws/**",
    "**/.ssh/**",
    "**/.gnupg/**",
    "**/secrets/**",
    "**/*secret*.json",
    "**/*secret*.y*ml",
    "**/*credential*",
)


class SchemaSetting(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """One schema, and the documents that it is for."""

    schema: Annotated[str, Meta(description="Path of the schema's file.", min_length=1)]
    files: Annotated[tuple[str, ...], Meta(description="Globs of documents.")] = ()
    urls: Annotated[
        tuple[str, ...], Meta(description="Addresses in `$schema` that mean this file.")
    ] = ()


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """Everything a person can set."""

    mode: Annotated[
        Literal["automatic", "manual", "off"],
        Meta(
            description="`automatic` offers text while you type; `manual` sends nothing to the "
            "model until you ask; `off` answers nothing."
        ),
    ] = "automatic"
    debounce_ms: Annotated[
        int,
        Meta(
            description="Milliseconds the server waits after a key before it asks the model; "
            "text you type into a suggestion is answered at once.",
            ge=0,
            le=5000,
        ),
    ] = 75
    deadline_ms: Annotated[
        int,
        Meta(
            description="Milliseconds an automatic request may take; the best whole draft by "
            "then is used. A request you make yourself gets ten times as long.",
            ge=50,
            le=60000,
        ),
    ] = 3000
    candidates: Annotated[
        int,
        Meta(
            description="How many different candidates a request you make yourself asks for; "
            "an automatic one asks for one.",
            ge=1,
            le=8,
        ),
    ] = 2
    adapter: Annotated[
        str,
        Meta(
            description="Weights fine-tuned on your code: `auto` uses those of the workspace when "
            "there are some, `off` none, and an id those of that name.",
            pattern=rf"^{ID_PATTERN}$(?!\n)",  # a dollar alone lets a final line break pass
        ),
    ] = "auto"
    ignore: Annotated[
        tuple[str, ...],
        Meta(
            description="Globs of files that are never read for a request. The default names "
            "usual places of keys and passwords; a list of your own replaces it."
        ),
    ] = IGNORED_BY_DEFAULT
    context: Annotated[
        Literal["off", "open", "workspace"],
        Meta(
            description="What the model is shown besides the document itself, when it has a use "
            "for it: `open` adds signatures of what the code in sight uses, similar text and "
            "recent edits from other open documents of the workspace; `workspace` reads the files "
            "that your code imports as well, in the workspace folders alone and none that "
            "`ignore` names; `off` adds nothing. All of it goes where the document's own text "
            "goes: to your runtime and no further."
        ),
    ] = "workspace"
    statistics: Annotated[
        bool,
        Meta(
            description="Count on this machine what becomes of completions: shown, accepted, kept, "
            "and how long they took, per language and day. Local only: the counts stay in a file "
            "of yours, hold no text and no file names, and are never sent anywhere."
        ),
    ] = True
    completion: Annotated[
        bool,
        Meta(
            description="Also answer `textDocument/completion`, for editors and plugins that show "
            "completions in a menu and know no inline completion."
        ),
    ] = False
    schemas: Annotated[
        tuple[SchemaSetting, ...],
        Meta(
            description="JSON Schemas that text in JSON, YAML and TOML must keep to, for documents "
            "that name none themselves: `schema` is a file's path, absolute or from the workspace "
            'folder, and `files` are globs, as in `{"files": ["**/*.config.json"], "schema": '
            '"schemas/config.json"}`. The first that matches is used. `urls` are addresses in a '
            "document's `$schema` that mean this file; nothing is ever fetched."
        ),
    ] = ()
    runtime_command: Annotated[
        tuple[str, ...],
        Meta(
            description="Command that starts the runtime, as a list of arguments. Empty: the "
            "server's own Python when it has torch, else `dgemma-runtime` on the PATH."
        ),
    ] = ()
    runtime_address: Annotated[
        str,
        Meta(
            description="Where a runtime on another machine answers, mostly through an SSH "
            "forward: `tcp://127.0.0.1:PORT` or `unix:///PATH`. With it no runtime is ever started "
            "here. Empty: this machine's own, started when it is needed."
        ),
    ] = ""
    runtime_token_file: Annotated[
        str,
        Meta(
            description="File with the token of the runtime at `runtimeAddress`, readable by you "
            "alone. Empty: `token` in dgemma's configuration folder. The environment variable "
            "`DGEMMA_TOKEN` goes before it; the token itself is no setting."
        ),
    ] = ""
    runtime_allow_unencrypted: Annotated[
        bool,
        Meta(
            description="Let `runtimeAddress` be on another machine, where source text and token "
            "travel unencrypted. For networks that nobody else can read, such as a container's."
        ),
    ] = False
    runtime: Annotated[RuntimeSettings, Meta(description="Settings of the runtime process.")] = (
        msgspec.field(default_factory=RuntimeSettings)
    )


def load(*layers: object) -> Settings:
    """Return the settings of several layers, each laid over the one before.

    Args:
        layers: What an editor sent: mappings in JSON's types, or ``None`` for nothing.

    Raises:
        SettingsError: A layer has an unknown name or a wrong value; the text names its path.
    """
    merged: dict[str, object] = {}
    for layer in layers:
        if layer is None or layer == []:  # an empty table of Lua is an empty list in JSON
            continue
        if not isinstance(layer, dict):
            raise SettingsError(
                f"The settings of dgemma must be an object, and are {type(layer).__name__}."
            )
        told = cast("dict[str, object]", layer)
        if told.get("runtime") == []:
            told = {name: value for name, value in told.items() if name != "runtime"}
        merged = _merge(merged, told)
    try:
        return msgspec.convert(merged, type=Settings)
    except msgspec.ValidationError as err:
        text = str(err).replace("`$.", f"`{SECTION}.").replace("`$`", f"`{SECTION}`")
        raise SettingsError(f"{text}. The earlier settings stay in force.") from err


def _merge(under: dict[str, object], over: dict[str, object]) -> dict[str, object]:
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _merge(cast("dict[str, object]", below), cast("dict[str, object]", value))
        if value is not None:  # editors send null for a setting that is not set
            merged[name] = value
    return merged

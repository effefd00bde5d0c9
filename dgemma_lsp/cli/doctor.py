"""``dgemma doctor``: what is installed, what would run where and why, and what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import platformdirs

from dgemma_lsp.cli.fill import add_runtime_options, settings_of
from dgemma_lsp.cli.lsp import release
from dgemma_lsp.languages import ALL, Language
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.runtime_client.process import find_command, flags
from dgemma_lsp.runtime_client.remote import Remote, remote_of, resolve
from dgemma_lsp.settings import Settings, load
from dgemma_lsp.syntax.grammar import GrammarMissing
from dgemma_wire import endpoint
from dgemma_wire.address import TOKEN_VARIABLE
from dgemma_wire.errors import DgemmaError

_PROBE_S = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``ok`` is ``None`` for what is neither good nor bad."""

    name: str
    value: str
    ok: bool | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``dgemma doctor``."""
    parser.add_argument("--json", action="store_true", help="Print the findings as JSON.")
    add_runtime_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; returns 1 when something is wrong."""
    settings = load(settings_of(arguments))
    remote = remote_of(settings)
    findings = [*_server(), *grammars()]
    # What runs elsewhere is not this environment's to check.
    findings += _remote(remote) if remote else _runtime(settings)
    findings += asyncio.run(_running(settings, remote))
    if arguments.json:
        print(json.dumps([{"name": f.name, "value": f.value, "ok": f.ok} for f in findings]))
    else:
        width = max(len(f.name) for f in findings)
        for finding in findings:
            mark = {True: "ok  ", False: "BAD ", None: "    "}[finding.ok]
            print(f"{mark}{finding.name:<{width}}  {finding.value}")
    bad = any(finding.ok is False for finding in findings)
    if bad and not arguments.json:
        print("\nSomething above is marked BAD; its line says what to do.")
    return 1 if bad else 0


def _server() -> list[Finding]:
    versions = " ".join(
        f"{name} {metadata.version(name)}" for name in ("pygls", "lsprotocol", "tree-sitter")
    )
    return [
        Finding("dgemma", release()),
        Finding("python", f"{platform.python_version()} at {sys.executable}"),
        Finding("platform", platform.platform()),
        Finding("server", versions, True),
        Finding("logs", str(platformdirs.user_log_path("dgemma", appauthor=False))),
    ]


def grammars() -> list[Finding]:
    """One line for each language; a missing wheel is a loss, not a fault."""
    languages = [_grammar(language) for language in ALL]
    missing = sum(finding.ok is None for finding in languages)
    text = f"{len(languages) - missing} of {len(languages)} usable"
    return [Finding("grammars", text, None if missing else True), *languages]


def _grammar(language: Language) -> Finding:
    name = f"  {language.name}"
    source = language.grammar
    if source is None:
        return Finding(name, "bracket checks only")
    found = language.load_grammar()
    if isinstance(found, GrammarMissing):
        return Finding(name, f"missing: bracket checks only ({found.message})")
    try:
        version = metadata.version(source.package)
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    return Finding(name, f"{source.package} {version}", True)


def _runtime(settings: Settings) -> list[Finding]:
    try:
        command = find_command(settings.runtime_command, settings.runtime.model)
    except DgemmaError as err:
        return [Finding("runtime", str(err), False)]
    found = [Finding("runtime", " ".join(command), True)]
    try:
        probe = subprocess.run(
            [*command, *flags(settings.runtime), "--probe"],
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=False,
        )
        said: dict[str, Any] = json.loads(probe.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as err:
        return [*found, Finding("probe", f"the runtime does not answer --probe: {err}", False)]
    ours = release()
    if said.get("release") != ours:
        found.append(Finding("versions", f"server {ours}, runtime {said.get('release')}", None))
    elsewhere = said.get("elsewhere")
    if elsewhere is not None:
        found.append(Finding("model server", elsewhere))
    for name in () if elsewhere is not None else ("torch", "transformers"):
        version = said.get(name)
        missing = "missing: pip install 'dgemma[runtime]'"
        found.append(Finding(name, version or missing, version is not None))
    if "device" in said:
        text = f"{said['device']} in {said['dtype']}: {said['reason']}"
        found.append(Finding("device", text, True))
    if "device_error" in said:
        found.append(Finding("device", said["device_error"], False))
    found.append(Finding("model", said.get("model", "")))
    if "files_error" in said:
        found.append(Finding("model files", said["files_error"], False))
    found += [Finding(f"  {name}", about) for name, about in said.get("files", {}).items()]
    if "memory" in said:
        found.append(Finding("memory", said["memory"]["words"], said["memory"]["fits"]))
    return found


def _remote(remote: Remote) -> list[Finding]:
    found = [Finding("runtime", f"on another machine, at {remote.address}; none is started here")]
    try:
        address, _ = resolve(remote)
    except DgemmaError as err:
        return [*found, Finding("address", str(err), False)]
    token = f"${TOKEN_VARIABLE}" if os.environ.get(TOKEN_VARIABLE) else remote.token_source
    if not address.private:
        found.append(Finding("encryption", "none: source text travels in the clear", None))
    return [*found, Finding("address", str(address), True), Finding("token", token, True)]


async def _running(settings: Settings, remote: Remote | None) -> list[Finding]:
    try:
        directory = None if remote else endpoint.runtime_directory()
        found = [Finding("socket", str(directory), True)] if directory else []
        client = RuntimeClient(
            settings.runtime,
            settings.runtime_command,
            directory,
            release(),
            "dgemma doctor",
            remote=remote,
        )
        status = await client.status()
        await client.close()
    except DgemmaError as err:
        return [Finding("process", str(err), False)]
    if status is None:
        return [*found, Finding("process", "none runs; the first request starts one")]
    text = f"{status.pid}, {status.state}, {status.resident_mb} MiB, {status.peers - 1} editors"
    if status.device:
        text += f", {status.device} in {status.dtype}: {status.device_reason}"
    if status.message:
        text += f" - {status.message}"
    return [*found, Finding("process", text, status.state != "failed")]

"""The licence verdict on a package, from what its metadata declares.

Reads the metadata of Python packages (core metadata) and of npm packages (``package.json``) and
answers whether the code may be trained on: permissive licences only, and nothing that so much as
mentions another kind. Opens no archive and reads no licence text beyond the declared field.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import cast

PERMISSIVE = re.compile(
    r"\b(MIT(-0|-CMU)?|0?BSD|Apache|ISC|PSF|Python[ -]Software[ -]Foundation|Python-2\.0"
    r"|CNRI-Python|zlib|libpng|Unlicense|HPND|CC0|BlueOak)\b",
    re.IGNORECASE,
)
"""What a declaration must name."""

RESTRICTED = re.compile(
    r"GPL|Affero|General Public|\b(MPL|EUPL|EPL|CDDL|SSPL|BUSL|OSL|AFL|OFL|CeCILL)\b|\bMPL-"
    r"|Mozilla|Eclipse|Business Source|Proprietary|Non-?Commercial|Commercial Licen[cs]e"
    r"|Commons Clause|\bCC[- ]BY|Elastic License|Artistic|\bUNLICENSED\b|LicenseRef"
    r"|Sleepycat|Polyform",
    re.IGNORECASE,
)
"""What no part of a declaration may mention, not even as a choice or for one bundled file."""

_HEAD = 100
"""Characters of a term that must name the licence: a field may hold a whole licence text."""
_EXPRESSION_WORDS = {"AND", "OR", "WITH", "LLVM-EXCEPTION"}
_CLASSIFIER = "License :: "
_UMBRELLA = {"License :: OSI Approved", "License :: Public Domain"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a package may be used.

    Attributes:
        accepted: It is declared under permissive licences only.
        licence: The declaration, shortened.
        source: Where it stood: ``expression``, ``classifier``, ``field``, or ``none``.
    """

    accepted: bool
    licence: str
    source: str


def python_verdict(metadata: str) -> Verdict:
    """Judge a ``METADATA`` or ``PKG-INFO`` file.

    The first of licence expression, classifiers and free field that says something is the verdict;
    the other two can still refuse it.
    """
    message = HeaderParser().parsestr(metadata)
    expression = str(message.get("License-Expression", "")).strip()
    classifiers = [
        value.strip()
        for value in cast("list[str]", message.get_all("Classifier", []))
        if value.startswith(_CLASSIFIER) and value.strip() not in _UMBRELLA
    ]
    field = " ".join(str(message.get("License", "")).split())
    if field.upper() == "UNKNOWN":
        field = ""
    everything = " ".join((expression, *classifiers, field))
    if expression:
        return _judged(expression, "expression", _expression_terms(expression), everything)
    if classifiers:
        names = [value.rpartition(" :: ")[2] for value in classifiers]
        return _judged("; ".join(names), "classifier", names, everything)
    return _judged(field, "field", [field] if field else [], everything)


def npm_verdict(package_json: str) -> Verdict:
    """Judge a ``package.json``: its ``license``, or the older ``licenses``."""
    try:
        raw: object = json.loads(package_json)
    except ValueError:
        return Verdict(False, "", "none")
    if not isinstance(raw, dict):
        return Verdict(False, "", "none")
    manifest = cast("dict[str, object]", raw)
    declared = manifest.get("license", manifest.get("licenses"))
    entries = cast("list[object]", declared) if isinstance(declared, list) else [declared]
    names: list[str] = []
    for entry in entries:
        name = cast("dict[str, object]", entry).get("type") if isinstance(entry, dict) else entry
        if isinstance(name, str):
            names.append(name)
    joined = " AND ".join(names)
    return _judged(joined, "expression", _expression_terms(joined), joined)


def _expression_terms(expression: str) -> list[str]:
    words = re.split(r"[\s()]+", expression)
    return [word for word in words if word and word.upper() not in _EXPRESSION_WORDS]


def _judged(licence: str, source: str, terms: list[str], everything: str) -> Verdict:
    accepted = (
        bool(terms)
        and all(PERMISSIVE.search(term[:_HEAD]) for term in terms)
        and RESTRICTED.search(everything) is None
    )
    return Verdict(accepted, licence[:120], source if terms else "none")

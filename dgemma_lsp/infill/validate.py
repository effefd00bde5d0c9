"""Whether a candidate may be shown: trimmed, then parsed in its place in the document.

The measure is relative: a candidate may not add errors to what the document with an empty hole
has, so broken files still get help. The document's own tree stays untouched. How long it takes to
ask again, or what to do with a rejected candidate, is not known here.
"""

from __future__ import annotations

from dgemma_lsp.infill.trim import Site, Trimmed, overlap_cuts, site_of, trim
from dgemma_lsp.infill.types import Hole, HoleKind, RejectReason, Snapshot, Verdict
from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.errors import count_errors, count_hollow
from dgemma_lsp.syntax.tree import ParsedText

_MAX_CUTS = 6
"""Each cut that is tried costs a parse of the excerpt."""


def check(snapshot: Snapshot, hole: Hole, raw_text: str) -> tuple[str, Verdict]:
    """Trim a model's text for ``hole`` and judge it.

    Returns:
        The text to insert and the verdict on it; a rejected text is returned for logs only.
    """
    site = site_of(snapshot, hole)
    trimmed = trim(raw_text, site)
    grammar = snapshot.parsed.grammar
    if grammar is not None:
        trimmed = _without_overlap(snapshot, hole, trimmed, site)
    text = trimmed.text
    parser = None if grammar is None else grammar.name
    if not text.strip():
        repeated = bool(raw_text.strip()) and "suffix_repeated" in trimmed.rules
        reason = RejectReason.REPEATS_SUFFIX if repeated else RejectReason.EMPTY
        return text, Verdict(False, reason, parser, trimmed=trimmed.rules)
    if _repeats_line(text, site):
        return text, Verdict(False, RejectReason.REPEATS_LINE, parser, trimmed=trimmed.rules)
    if grammar is None:
        before, after = _count_generic(text, site)
    else:
        before, after = _count_parsed(snapshot, hole, text, site)
    reason = RejectReason.ADDS_SYNTAX_ERROR if after > before else None
    return text, Verdict(reason is None, reason, parser, before, after, trimmed.rules)


def _repeats_line(text: str, site: Site) -> bool:
    """Whether the finished lines say nothing but what the line above or below says."""
    lines = f"{site.before}{text}{site.tail}".split(site.newline)
    said = [line.strip() for line in lines if line.strip()]
    if len(said) != 1:
        return False
    letters = "".join(char for char in said[0] if char.isalnum())
    if letters in ("", site.language.block_closer):
        return False  # `})` and `end)` may well follow each other
    own = text.strip()
    if 2 * len(own) < len(said[0]):
        return False  # most of the line is the user's
    around = (site.above, site.below[0] if site.below else None)
    # The candidate by itself counts too: a statement pasted behind another one.
    return any(line is not None and line.strip() in (said[0], own) for line in around)


def _count_parsed(snapshot: Snapshot, hole: Hole, text: str, site: Site) -> tuple[int, int]:
    excerpt = snapshot.parsed.excerpt(hole.offset)
    at = excerpt.offset
    before = errors_at(excerpt.parsed, at, at, snapshot.language)
    edited = excerpt.parsed.edited(at, at, text)
    after = errors_at(edited, at, at + len(text), snapshot.language)
    if 0 < after <= before and _is_new_text(site):
        # The empty hole is at fault itself, as in `if :`. A candidate that leaves more errors
        # than any name would is no help.
        filled = excerpt.parsed.edited(at, at, snapshot.language.placeholder)
        end = at + len(snapshot.language.placeholder)
        before = min(before, errors_at(filled, at, end, snapshot.language))
    return before, after


def errors_at(parsed: ParsedText, start: int, end: int, language: Language) -> int:
    """All errors of a text, and the bodies missing next to a range."""
    errors = count_errors(parsed)
    if language.hollow_node:
        errors += count_hollow(parsed, language.hollow_node, start, end)
    return errors


def _without_overlap(snapshot: Snapshot, hole: Hole, trimmed: Trimmed, site: Site) -> Trimmed:
    """End a faulty text before it says the rest of the line, where the parser likes that better.

    The rules of ``trim`` cut only what is a repetition for certain. Whether a bracket is one can
    depend on what the hole itself opened; that is left to the parser.
    """
    excerpt = snapshot.parsed.excerpt(hole.offset)
    at = excerpt.offset
    fewest: int | None = None
    while cuts := overlap_cuts(trimmed.text, site)[:_MAX_CUTS]:
        if fewest is None:
            fewest = count_errors(excerpt.parsed.edited(at, at, trimmed.text))
        best: Trimmed | None = None
        for cut in cuts if fewest else []:
            again = trim(cut, site)
            errors = count_errors(excerpt.parsed.edited(at, at, again.text))
            if errors < fewest and again.text.strip():
                best, fewest = again, errors
        if best is None:
            break
        rules = dict.fromkeys((*trimmed.rules, "suffix_overlap", *best.rules))
        trimmed = Trimmed(best.text, tuple(rules))
    return trimmed


def _is_new_text(site: Site) -> bool:
    """Whether a name would stand alone in the hole instead of growing into a neighbour."""
    return not (site.before[-1:].isalnum() or site.tail[:1].isalnum())


def _count_generic(text: str, site: Site) -> tuple[int, int]:
    """Faults in brackets and quotes without and with the candidate, for lack of a grammar."""
    before = _faults(site.near + site.tail, site.language, site.kind)
    after = _faults(site.near + text + site.tail, site.language, site.kind)
    return before, after


def _faults(text: str, language: Language, kind: HoleKind) -> int:
    found = balance(text, language)
    open_strings = 1 if found.open_string >= 0 else 0
    unclosed = len(found.unclosed) if kind is HoleKind.MID_LINE else 0
    return open_strings + found.mismatched + len(found.unopened) + unclosed

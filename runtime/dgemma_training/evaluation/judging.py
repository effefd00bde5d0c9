"""How good one answer is: the same text or how near, whether the file parses, whether it runs.

Pure but for the sandbox it calls. Knows no systems and no averages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.evaluation.items import Item
from dgemma_training.evaluation.sandbox import Sandbox
from dgemma_training.rows import Row, parses_without


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is right about a text in a hole.

    Attributes:
        exact: The text is what stood there, blanks at both ends apart.
        similarity: 1 minus the edit distance over the longer text's length; 1 is the same.
        parses: The file parses with it; ``None`` where there is no parser for the language.
        passed: The row's test succeeds; ``None`` without a test.
    """

    exact: bool
    similarity: float
    parses: bool | None
    passed: bool | None


@dataclass(slots=True)
class Judge:
    """Judges answers, each text of a row once; a test needs a ``sandbox``."""

    sandbox: Sandbox | None = None
    _known: dict[tuple[Row, str], Judgement] = field(default_factory=dict)
    _sound: dict[Row, int] = field(default_factory=dict)

    def judge(self, item: Item, text: str) -> Judgement:
        """Say how good ``text`` is in an item's hole."""
        key = item.row, text
        if key not in self._known:
            given, wanted = text.strip(), item.row.middle.strip()
            self._known[key] = Judgement(
                exact=given == wanted,
                similarity=similarity(given, wanted),
                parses=self._parses(item, text),
                passed=self._passed(item, text),
            )
        return self._known[key]

    def _parses(self, item: Item, text: str) -> bool | None:
        row = item.row
        language = by_id(row.language)
        grammar = language.usable_grammar()
        if grammar is None:
            return None
        if row not in self._sound:
            whole = row.prefix + row.middle + row.suffix
            sound = parses(whole, row.language)
            self._sound[row] = -1 if sound else count_errors(ParsedText(whole, grammar))
        allowed = self._sound[row]
        filled = row.prefix + text + row.suffix
        if allowed < 0:
            return parses(filled, row.language)
        # The row is cut out of a file in a way that does not parse by itself: no worse will do.
        return count_errors(ParsedText(filled, grammar)) <= allowed

    def _passed(self, item: Item, text: str) -> bool | None:
        if item.test is None or self.sandbox is None:
            return None
        row = item.row
        return self.sandbox.run(row.prefix + text + row.suffix + item.test.program).passed


def parses(text: str, language: str) -> bool:
    """Whether a text parses: by Python's own parser, or by the language's grammar."""
    return parses_without(text, 0, 0, language)


def similarity(one: str, other: str) -> float:
    """Return 1 minus Levenshtein's distance over the longer text's length."""
    longest = max(len(one), len(other))
    return 1.0 if not longest else 1.0 - _distance(one, other) / longest


def cut_at_tail(text: str, tail: str) -> str:
    """End a completion where it first says what the line goes on with; ``tail`` is its rest."""
    rest = tail.strip()
    at = text.find(rest) if rest else -1
    return text if at < 0 else text[:at]


def _distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right)),
            )
    return row[-1]

"""The layout for the instruction-tuned DiffusionGemma: a conversation of one turn each.

The user's turn holds what is far from the canvas, the most stable first, so that a keystroke only
adds to what the model has read: pieces from elsewhere, the text behind the canvas, and for a
rewrite the instruction and the original. The model's turn has begun: its thought channel is
closed, a code fence is open, and the file's own text up to the canvas is text the model has said.
Most of its layers see the last thousand tokens only, which is where that text stands.

The tokens and their order are those of Gemma 4's chat template with thinking off. No score of this
layout is known; it is the one that the template and the model's attention suggest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dgemma_runtime.prompt.base import Control, Part, Prompt, check_rewrite
from dgemma_wire.messages import Rewrite

TURN, TURN_END = Control("<|turn>"), Control("<turn|>")
CHANNEL, CHANNEL_END = Control("<|channel>"), Control("<channel|>")

AFTER_TOKENS = 512

_TASK = (
    "You complete source files. The file stops at a gap and you write what belongs there, in the "
    "file's own style and indentation, and nothing else.\n\n"
)
_FILL = "Write what belongs into the gap."
_REWRITE = "Into the gap belong the following lines, changed by this instruction: "
_TICKS = re.compile("`{3,}")


class GemmaLayout:
    """See the module."""

    controls = (TURN.name, TURN_END.name, CHANNEL.name, CHANNEL_END.name)
    after_tokens = AFTER_TOKENS

    def lay_out(
        self,
        prefix: str,
        rewrite: Rewrite | None,
        context: Sequence[str] = (),
        after: str = "",
    ) -> Prompt:
        """See ``PromptLayout``."""
        if rewrite is not None:
            check_rewrite(prefix, rewrite)
        told = "" if rewrite is None else rewrite.original
        fence = _fence((prefix, after, told, *context))
        # The rest of the canvas's own line changes with every bracket typed; the canvas has it.
        below = after.partition("\n")[2].strip("\r\n")
        asked: list[str] = [f"\n{fence}\n\n" if below else ""]
        if rewrite is None:
            asked.append(_FILL)
        else:
            asked.append(f"{_REWRITE}{rewrite.instruction}\n{fence}\n{rewrite.original}\n{fence}")
        return Prompt(
            prefix,
            whole=rewrite is not None,
            opening=(TURN, "user\n" + _TASK),
            pieces=tuple(_pieces(context, fence)),
            lead=(f"Behind the gap the file goes on:\n{fence}\n",) if below else (),
            after=below,
            after_tokens=AFTER_TOKENS,
            turn=(
                "".join(asked),
                TURN_END,
                "\n",
                TURN,
                "model\n",
                CHANNEL,
                "thought\n",
                CHANNEL_END,
                fence + "\n",
            ),
            closing=_closing(after, fence),
        )


def _fence(texts: Iterable[str]) -> str:
    """Return a code fence that none of the texts can close."""
    longest = max((len(run) for text in texts for run in _TICKS.findall(text)), default=2)
    return "`" * (longest + 1)


def _pieces(context: Iterable[str], fence: str) -> Iterable[str]:
    # Said with the first one: the last ones may be dropped, and all of them.
    heading = "From elsewhere in the project:\n\n"
    for piece in context:
        text = piece.strip("\r\n")
        if text.strip():
            yield f"{heading}{fence}\n{text}\n{fence}\n\n"
            heading = ""


def _closing(after: str, fence: str) -> tuple[Part, ...]:
    return (fence if after.endswith("\n") else "\n" + fence, TURN_END)


GEMMA = GemmaLayout()

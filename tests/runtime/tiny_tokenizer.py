"""A small tokenizer with the control tokens of Gemma 4, not all of them marked as special."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<|channel>", "<channel|>")
UNMARKED = ("<turn|>", "<|think|>", "<|tool_response>")
"""Added tokens that text is searched for unless somebody sees to it that it is not."""

_TEXTS = (
    "def add(first, second):\n    return first + second\n\n\nclass Point:\n    x = 0\n",
    "You complete source files. Write what belongs into the gap. user model thought\n```\n",
    "for value in values:\n    total += value\nprint(total)\nimport json\n",
)


def tiny_tokenizer(path: Path, *, without: str = "") -> Path:
    """Write one; ``without`` is a control token it lacks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[token for token in SPECIAL if token != without],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    tokenizer.add_tokens(
        [AddedToken(t, special=False, normalized=False) for t in UNMARKED if t != without]
    )
    tokenizer.save(str(path))
    return path

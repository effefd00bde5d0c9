"""How large a run of the benchmark is: the model's dimensions, and how much is measured.

``full`` has the published dimensions of DiffusionGemma 26B-A4B and wants a GPU of 80 GB or more;
``small`` keeps the published vocabulary and takes some minutes on a CPU; ``tiny`` takes seconds and
exists to show that every part runs. Weights are random in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dgemma_runtime.catalog.memory_plan import Form

FULL_DIMS: Mapping[str, int] = {
    "vocab_size": 262144,
    "hidden_size": 2816,
    "intermediate_size": 2112,
    "num_hidden_layers": 30,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_global_key_value_heads": 2,
    "num_experts": 128,
    "top_k_experts": 8,
    "moe_intermediate_size": 704,
    "sliding_window": 1024,
    "max_position_embeddings": 16384,
}
SMALL_DIMS: Mapping[str, int] = {
    **FULL_DIMS,
    "hidden_size": 512,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 16,
    "moe_intermediate_size": 128,
}
TINY_DIMS: Mapping[str, int] = {
    **FULL_DIMS,
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 16,
    "num_global_key_value_heads": 1,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 32,
    "sliding_window": 32,
    "max_position_embeddings": 2048,
}


@dataclass(frozen=True, slots=True)
class Size:
    """What is measured.

    Attributes:
        name: ``tiny``, ``small`` or ``full``.
        dims: Fields of the text part's configuration.
        forms: What the weights are held as; the first is the plain one.
        canvases: Positions of the canvases.
        together: Canvases of one pass.
        prefix: Tokens before the canvases.
        prefills: Tokens of the prefixes that are timed.
        pass_tokens: Tokens of one causal pass, as the engine takes them on such a device.
        short: Steps of the shorter of two runs of ``generate()``.
        long: Steps of the longer one, and of each run of ours.
        rounds: Runs of each.
        infills: Whole infills that are timed.
        fills: Whole fills of the model that ships.
        decoded: Tokens of the shorter and of the longer run of the autoregressive model.
        brief: Packed forms, and several canvases at once, are measured on one canvas alone and
            behind the shortest prefix: they take long without their kernel.
    """

    name: str
    dims: Mapping[str, int]
    forms: tuple[Form, ...]
    canvases: tuple[int, ...] = (32, 64, 128, 256)
    together: tuple[int, ...] = (1, 2, 4)
    prefix: int = 512
    prefills: tuple[int, ...] = (512, 2048, 8192)
    pass_tokens: int = 1024
    short: int = 2
    long: int = 6
    rounds: int = 3
    infills: int = 20
    fills: int = 40
    decoded: tuple[int, int] = (4, 20)
    brief: bool = False

    @property
    def plain(self) -> Form:
        """The form that nothing is packed in."""
        return self.forms[0]

    def canvases_of(self, form: Form) -> tuple[int, ...]:
        """Return the canvases whose steps are measured in a form."""
        return self.canvases if form is self.plain else self.canvases_together

    @property
    def canvases_together(self) -> tuple[int, ...]:
        """The canvases that several at once are measured on."""
        return self.canvases[1:2] if self.brief else self.canvases

    def prefills_of(self, form: Form) -> tuple[int, ...]:
        """Return the prefixes that are timed in a form."""
        return self.prefills[:1] if self.brief and form is not self.plain else self.prefills


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        Size(
            "tiny",
            TINY_DIMS,
            (Form.FLOAT32, Form.FP8, Form.INT4),
            canvases=(32, 64),
            together=(1, 2),
            prefix=24,
            prefills=(16, 48),
            pass_tokens=32,
            short=1,
            long=3,
            rounds=2,
            infills=2,
            fills=2,
            decoded=(2, 4),
        ),
        Size(
            "small",
            SMALL_DIMS,
            (Form.BFLOAT16, Form.FP8, Form.INT4),
            pass_tokens=128,
            long=4,
            rounds=2,
            infills=8,
            decoded=(4, 16),
            brief=True,
        ),
        Size(
            "full",
            FULL_DIMS,
            (Form.BFLOAT16, Form.FP8, Form.INT4),
            short=4,
            long=12,
            rounds=5,
            infills=100,
            fills=60,
            decoded=(8, 40),
        ),
    )
}

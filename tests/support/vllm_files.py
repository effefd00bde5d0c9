"""The small files of a checkpoint whose tokens are bytes, and scripts for a server of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from support.tiny_vllm import TinyVllm
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from dgemma_runtime.text import Codec, load_codec

CONTROLS = ("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>")
EOS, BOS = 1, 2
VOCAB = 512
CANVAS = 64


def write_files(folder: Path, *, talks: bool = False, canvas: int = CANVAS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {name: i for i, name in enumerate((*CONTROLS, *letters))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in CONTROLS])
    tokenizer.save(str(folder / "tokenizer.json"))
    text = {"vocab_size": VOCAB, "max_position_embeddings": 8192, "bos_token_id": BOS}
    config = {"model_type": "diffusion_gemma", "canvas_length": canvas, "text_config": text}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [EOS]}))
    if talks:
        (folder / "chat_template.jinja").write_text(
            "<|turn>user\n{{ m }}<turn|>\n{% if add_generation_prompt %}<|turn>model\n{% endif %}"
        )
    return folder


class Script:
    """Fills canvases with texts, one after another; every token as sure as the script says."""

    def __init__(self, codec: Codec, *texts: str, nats: float = -0.25) -> None:
        self.codec = codec
        self.texts = list(texts)
        self.nats = nats
        self.calls = 0
        self.lock = threading.Lock()

    def __call__(self, prompt: list[int], free: list[int]) -> tuple[list[int], list[float]]:
        with self.lock:
            text = self.texts[self.calls % len(self.texts)]
            self.calls += 1
        ids = self.codec.encode(text)[: len(free)]
        return ids + [EOS] * (len(free) - len(ids)), [self.nats] * len(free)


def server(files: Path, *texts: str, **more: object) -> TinyVllm:
    codec = load_codec(files / "tokenizer.json")
    made = {"vocab": VOCAB, "canvas": CANVAS, **more}
    return TinyVllm(Script(codec, *(texts or ("a + b",))), codec.encode, **made)  # type: ignore[arg-type]

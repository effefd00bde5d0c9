"""A DiffusionGemma of a few thousand weights, random but fixed by a seed."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers.models.diffusion_gemma import (
    DiffusionGemmaConfig,
    DiffusionGemmaForBlockDiffusion,
    DiffusionGemmaTextConfig,
)
from transformers.models.gemma4 import Gemma4VisionConfig

VOCAB = 300
WINDOW = 24
CANVAS = 16


def tiny_gemma(
    seed: int = 0, vocab: int = VOCAB, wide: bool = False
) -> DiffusionGemmaForBlockDiffusion:
    """With ``wide`` every inner size is a multiple of 32, as packed weights want them."""
    text = DiffusionGemmaTextConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64 if wide else 48,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        global_head_dim=16,
        num_global_key_value_heads=1,
        max_position_embeddings=512,
        sliding_window=WINDOW,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=32 if wide else 16,
        initializer_range=0.3,
    )
    vision = Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
    )
    config = DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=CANVAS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DiffusionGemmaForBlockDiffusion(config).float().eval()


def packable_gemma(seed: int = 0) -> DiffusionGemmaForBlockDiffusion:
    """One whose weights can be packed in groups of 32 inputs."""
    return tiny_gemma(seed, wide=True)


def calm_gemma(seed: int = 0) -> DiffusionGemmaForBlockDiffusion:
    """One whose layers change little and whose logits are sharp, so that canvases settle."""
    model = tiny_gemma(seed)
    with torch.no_grad():
        for name, parameter in model.model.decoder.named_parameters():
            if "post_" in name or "self_conditioning.down" in name:
                parameter.mul_(0.3)
        model.model.decoder.norm.weight.mul_(20.0)
    return model


def gemma_folder(folder: Path, tokenizer: Path, *, wide: bool = False) -> Path:
    """Write one as a checkpoint folder with the vocabulary of ``tokenizer``."""
    model = tiny_gemma(vocab=49152, wide=wide)
    model.save_pretrained(folder)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    return folder

"""Encoder-decoders: opened from a folder or by name, warm-started from an encoder, or new and T5-shaped.

Every one comes out of here with the ids that training and generation need: padding, end, and what the decoder starts
with. Leaves out where the encoder of a warm start lies (the caller hands its folder over).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from groundtune.errors import InputError

#: context of a new model in tokens; T5's relative positions have no limit of their own, attention's memory has
NEW_CONTEXT = 512
#: width of an attention head of a new model
HEAD = 32


def open_encoder_decoder(path: str) -> tuple[Any, Any]:
    """A fresh copy of an encoder-decoder in float32, and its tokenizer.

    Raises:
        InputError: no such model here and none to be fetched, or it is no encoder-decoder.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForSeq2SeqLM.from_pretrained(path, dtype=torch.float32)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise InputError(
            f"{path!r} cannot be loaded as an encoder-decoder: {str(error).strip().splitlines()[0][:300]}",
            expected="warm:minilm, new:LAYERSxWIDTH, a folder with config.json and safetensors of a T5, BART or Marian model, or a Hugging Face name that is in the cache or can be fetched",
            next_step="check `tune.model` in groundtune.yaml",
        ) from None
    freeze_unused(model)
    return model, tokenizer


def freeze_unused(model: Any) -> None:
    """Leave out of training what transformers stores as weights, though no gradient can reach it.

    A BERT encoder's pooler, which nothing reads, and Marian's sinusoidal positions, which are computed, not learnt.
    """
    for name, module in model.named_modules():
        if name.endswith("encoder.pooler") or "Sinusoidal" in type(module).__name__:
            module.requires_grad_(False)


def warm_start(folder: Path, *, seed: int) -> tuple[Any, Any]:
    """Encoder and decoder both from one BERT's weights (BERT2BERT), and its tokenizer.

    The decoder's self-attention and feed-forward layers start from the encoder's, causal now; its cross-attention and the
    layer before its output head are new: normal with the BERT's own deviation. The head is the decoder's word table.
    Rothe, Narayan and Severyn, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks" (TACL 2020), section 3.

    Args:
        folder: of a BERT with its tokenizer.
        seed: of the new weights.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertLMHeadModel, BertModel, EncoderDecoderModel

    torch.manual_seed(seed)
    config = BertConfig.from_pretrained(folder, is_decoder=True, add_cross_attention=True)
    encoder = BertModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    decoder = BertLMHeadModel(config)
    own = encoder.state_dict()
    with torch.no_grad():
        for name, parameter in decoder.bert.named_parameters():
            if "crossattention" not in name:
                parameter.copy_(own[name])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token, tokenizer.bos_token = tokenizer.sep_token, tokenizer.cls_token
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    set_ids(model, tokenizer, start=tokenizer.cls_token_id)
    freeze_unused(model)
    return model, tokenizer


def new_encoder_decoder(layers: int, width: int, tokenizer: Any, *, seed: int, dropout: float = 0.1) -> Any:
    """A T5 from zero, with gated feed-forward layers (v1.1) and one matrix for input, output and both sides.

    Args:
        layers: of the encoder, and as many of the decoder.
        width: a multiple of 32; heads are 32 wide, the feed-forward layers 8/3 of the width.
        tokenizer: whose entries it reads and writes.
        seed: of the weights.
        dropout: everywhere T5 has it.
    """
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=HEAD,
        num_heads=width // HEAD,
        d_ff=-(-width * 8 // 3 // 32) * 32,
        num_layers=layers,
        dropout_rate=dropout,
        feed_forward_proj="gated-gelu",
    )
    config.n_positions = NEW_CONTEXT
    model = T5ForConditionalGeneration(config)
    set_ids(model, tokenizer, start=tokenizer.pad_token_id)
    return model


def set_ids(model: Any, tokenizer: Any, *, start: int) -> None:
    """Write down which ids pad, end and begin, for training and for generation."""
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.decoder_start_token_id = start


def context_tokens(model: Any, tokenizer: Any) -> int:
    """Longest input or output in tokens: the fewest positions of either side; without positions, the tokenizer's word."""
    config = model.config
    parts = [config, getattr(config, "encoder", None), getattr(config, "decoder", None)]
    limits = [getattr(part, "max_position_embeddings", None) for part in parts if part is not None]
    known = [int(limit) for limit in limits if limit] or [int(getattr(config, "n_positions", 0) or NEW_CONTEXT)]
    return min([*known, int(tokenizer.model_max_length or 10**9)])

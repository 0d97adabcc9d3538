"""Tiny random encoders and decoders in folders, with tokenizers of whole words, for tests of classification and masked words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

COLOURS = "red blue green grey pink".split()
ANIMALS = "horse cow goat sheep duck".split()
TOOLS = "hammer saw drill file plane".split()
FILLERS = "the a old new very small big here there now then with and on under".split()
#: class -> its words
CLASSES_OF_WORDS = {"animal": ANIMALS, "colour": COLOURS, "tool": TOOLS}
WORDS = [*COLOURS, *ANIMALS, *TOOLS, *FILLERS]


def tokenizer(kind: str, *, pad_is_end: bool = False) -> Any:
    """A tokenizer of whole words: ``bert`` with [CLS] and [SEP] around texts and pairs, ``llama`` with nothing around."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if kind == "bert" else ["<pad>", "<unk>", "<end>"]
    vocabulary = {word: n for n, word in enumerate([*special, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=special[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    if kind != "bert":
        return PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token=None if pad_is_end else "<pad>", unk_token="<unk>", eos_token="<end>"
        )
    made.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def bert_config(**more: Any) -> Any:
    from transformers import BertConfig

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertConfig(vocab_size=5 + len(WORDS), max_position_embeddings=64, pad_token_id=0, **small, **more)


def write_bert(folder: Path, *, sentence: bool = False, seed: int = 0) -> Path:
    """A BERT with its head for masked words, or (``sentence``) one without, with sentence-transformers' word on mean pooling."""
    import torch
    from transformers import BertForMaskedLM, BertModel

    torch.manual_seed(seed)
    (BertModel if sentence else BertForMaskedLM)(bert_config()).save_pretrained(folder)
    tokenizer("bert").save_pretrained(folder)
    if sentence:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
        (folder / "modules.json").write_text("[]")
    return folder


def write_llama(folder: Path, *, pad_is_end: bool = False) -> Path:
    """A small Llama; with ``pad_is_end`` its tokenizer has no padding token but the end."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=3 + len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=None, eos_token_id=2,
        pad_token_id=None if pad_is_end else 0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer("llama", pad_is_end=pad_is_end).save_pretrained(folder)
    return folder


def topic_rows(count: int, seed: int) -> list[dict[str, str]]:
    """Texts whose class is that of their one word that is no filler."""
    rng = random.Random(seed)
    out = []
    for n in range(count):
        label = sorted(CLASSES_OF_WORDS)[n % 3]
        words = [*rng.choices(FILLERS, k=rng.randint(2, 9)), rng.choice(CLASSES_OF_WORDS[label])]
        rng.shuffle(words)
        out.append({"text": " ".join(words), "label": label})
    return out


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

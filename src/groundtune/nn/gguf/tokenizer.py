"""A byte-level BPE tokenizer as GGUF keeps it, and which of llama.cpp's pre-tokenizers cuts text as it does.

llama.cpp holds the patterns that cut text into words in its own source, under names (``tokenizer.ggml.pre``); a file
can only name one. Here each known name is tried with the ``tokenizers`` library on a probe text and on what the user wants
measured, and the one with the fewest differing tokens is taken; the share that differs is told. Pebble's own pattern has
no name there; ``qwen2`` cuts nearly all text alike, except where several blanks stand in a row. Leaves out
SentencePiece and WordPiece.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from groundtune.errors import InputError

#: gguf's token types
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_CONTRACTION = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: llama.cpp's names of pre-tokenizers and their patterns, applied one after the other (src/llama-vocab.cpp, October 2026);
#: of names with the same patterns, one whose text is not tidied up when it is read back. First those that are known longest.
PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "qwen2": (_CONTRACTION + _WORD + r"\p{N}" + _REST,),
    "llama-bpe": (_CONTRACTION + _WORD + r"\p{N}{1,3}" + _REST,),
    "ufakzeka": (_WORD + r"\p{N}" + _REST,),
}
#: names under which llama.cpp takes a word that is an entry as it is, without merging up to it
_IGNORE_MERGES = {"llama-bpe"}

#: where tokenizers differ: contractions, numbers, punctuation, line breaks, blanks, other scripts
PROBE = (
    "The café's opening hours (from 9:30 to 18:15) aren't what they'll be in 2027; DON'T ask why!\n\n"
    "Invoice no. 20417-B: 1,250.00 EUR, due on 3/11. We've paid 'half' of it...\n- first\n- second\tthird\n\n\n"
    "if (x != 10) { return f(x + 1); }  // two blanks\n    four blanks\nGrüße aus Łódź, Ελλάδα, Москва, 東京, ١٢٣ 🙂🙂\n"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer.

    Attributes:
        tokens: by id, in the byte-level alphabet; ids the tokenizer does not use are ``[PAD<id>]``.
        types: of each token: normal, control, user-defined, unused.
        merges: "left right", in order.
        pre: llama.cpp's name of the pre-tokenizer.
        differing: share of the probed tokens that the named pre-tokenizer would cut otherwise, 0 to 1.
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str
    differing: float


def vocabulary(tokenizer: Any, entries: int, *, texts: Sequence[str] = ()) -> Vocabulary:
    """The vocabulary of a byte-level BPE tokenizer for a model with so many embeddings.

    Args:
        texts: more text, besides the probe, to choose the pre-tokenizer by and to tell its differences on.

    Raises:
        InputError: another kind of tokenizer, or one with more tokens than the model has embeddings.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    described = json.loads(backend.to_str()) if backend is not None else {}
    model = described.get("model", {})
    if model.get("type") != "BPE" or model.get("byte_fallback") or "ByteLevel" not in json.dumps(described["decoder"]):
        raise InputError(
            f"a {type(tokenizer).__name__} of the kind {model.get('type')} cannot be written to GGUF here",
            expected="a byte-level BPE tokenizer, as GPT-2, Llama 3, Qwen and pebble have",
            next_step="set CONVERT_HF_TO_GGUF to llama.cpp's convert_hf_to_gguf.py",
        )
    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    if by_id and max(by_id) >= entries:
        raise InputError(
            f"the tokenizer has token {max(by_id)}, the model {entries} embeddings",
            expected="an embedding for every token",
        )
    added = {token["id"]: token["special"] for token in described["added_tokens"]}
    kinds = {index: CONTROL if special else USER_DEFINED for index, special in added.items()}
    pre, differing = closest_pre_tokenizer(backend, [PROBE, *texts])
    return Vocabulary(
        tokens=[by_id.get(index, f"[PAD{index}]") for index in range(entries)],
        types=[kinds.get(index, NORMAL) if index in by_id else UNUSED for index in range(entries)],
        merges=[m if isinstance(m, str) else " ".join(m) for m in model["merges"]],
        pre=pre,
        differing=differing,
    )


def closest_pre_tokenizer(backend: Any, texts: Sequence[str]) -> tuple[str, float]:
    """The name whose patterns change the fewest tokens of the texts, and their share.

    Args:
        backend: a ``tokenizers.Tokenizer``.
    """
    wanted = [_cut(backend, text) for text in texts]
    total = max(1, sum(map(len, wanted)))
    best, least = "", total + 1
    for name in PRE_TOKENIZERS:
        other = as_llama_cpp(backend, name)
        differing = sum(len(cut - _cut(other, text)) for cut, text in zip(wanted, texts, strict=True))
        if differing < least:
            best, least = name, differing
    return best, least / total


def as_llama_cpp(backend: Any, name: str) -> Any:
    """A copy of a ``tokenizers.Tokenizer`` that cuts text as llama.cpp does under a pre-tokenizer's name."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    described = json.loads(backend.to_str())
    described["model"]["ignore_merges"] = name in _IGNORE_MERGES
    described["normalizer"] = None
    other = Tokenizer.from_str(json.dumps(described))
    other.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name]),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return other


def _cut(backend: Any, text: str) -> set[tuple[int, tuple[int, int]]]:
    found = backend.encode(text, add_special_tokens=False)
    return set(zip(found.ids, found.offsets, strict=True))

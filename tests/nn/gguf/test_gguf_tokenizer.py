"""Tokenizers in GGUF's form, and llama.cpp's pre-tokenizers told apart by what they cut."""

from __future__ import annotations

from typing import Any

import pytest

from groundtune.errors import InputError
from groundtune.nn.gguf.tokenizer import (
    CONTROL,
    NORMAL,
    PRE_TOKENIZERS,
    PROBE,
    UNUSED,
    USER_DEFINED,
    as_llama_cpp,
    closest_pre_tokenizer,
    vocabulary,
)


def test_tokens_types_and_merges(tiny_tokenizer: Any) -> None:
    words = vocabulary(tiny_tokenizer, len(tiny_tokenizer) + 2)
    assert words.tokens[:5] == ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>"]
    assert words.types[:5] == [CONTROL] * 5
    assert set(words.types[5:-2]) == {NORMAL}
    assert words.tokens[-2:] == [f"[PAD{len(tiny_tokenizer)}]", f"[PAD{len(tiny_tokenizer) + 1}]"]
    assert words.types[-2:] == [UNUSED] * 2
    assert all(tiny_tokenizer.get_vocab()[token] == i for i, token in enumerate(words.tokens[:-2]))
    for merge in words.merges:
        left, right = merge.split(" ")
        assert {left, right, left + right} <= set(words.tokens)


def test_added_tokens_that_are_not_special_are_the_users(tiny_tokenizer: Any) -> None:
    import copy

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_tokens(["[name]"])
    assert vocabulary(tokenizer, len(tokenizer)).types[-1] == USER_DEFINED


def test_more_tokens_than_embeddings_are_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"token 399, the model 399 embeddings"):
        vocabulary(tiny_tokenizer, 399)


def test_another_kind_of_tokenizer_is_refused() -> None:
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.decoder = decoders.WordPiece()
    with pytest.raises(InputError, match="kind WordPiece cannot be written"):
        vocabulary(PreTrainedTokenizerFast(tokenizer_object=words), 2)
    fallback = Tokenizer(models.BPE({"a": 0, "<0x0A>": 1}, [], byte_fallback=True))  # Llama 2's kind
    fallback.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    with pytest.raises(InputError, match="kind BPE cannot be written"):
        vocabulary(PreTrainedTokenizerFast(tokenizer_object=fallback), 2)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_a_tokenizer_that_cuts_as_llama_cpp_does_is_recognised(name: str, tiny_tokenizer: Any) -> None:
    like = as_llama_cpp(tiny_tokenizer.backend_tokenizer, name)
    found, differing = closest_pre_tokenizer(like, [PROBE])
    assert differing == 0
    assert as_llama_cpp(tiny_tokenizer.backend_tokenizer, found).encode(PROBE).ids == like.encode(PROBE).ids


def test_the_share_that_differs_is_counted_on_the_text_given(tiny_tokenizer: Any) -> None:
    backend = tiny_tokenizer.backend_tokenizer
    name, differing = closest_pre_tokenizer(backend, ["The mill stands by the river, and it's old."])
    assert (name in PRE_TOKENIZERS, differing) == (True, 0.0)
    blanks = "a  b  c"  # pebble's kind keeps blanks in a row together; llama.cpp gives the last one to the word
    ids, other = backend.encode(blanks).ids, as_llama_cpp(backend, "qwen2").encode(blanks).ids
    assert ids != other
    assert closest_pre_tokenizer(backend, [blanks])[1] > 0

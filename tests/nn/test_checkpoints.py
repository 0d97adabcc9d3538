"""Models of other makes load and answer; what is no model is refused with one message."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from groundtune.backends.local import LocalBackend
from groundtune.dataset.prompts import closed_book
from groundtune.errors import InputError
from groundtune.nn.checkpoints import BUNDLED_FOLDER, load_model, model_path

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "When is the fair? On the ninth of August.",
    "Question: who? Answer: Ann.",
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def own_tokenizer(end: str, *special: str) -> Any:
    """A byte-level BPE tokenizer of another make than ours."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXTS, vocab_size=300, min_frequency=1, special_tokens=[end, *special], show_progress=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=end)


def save_gpt2(folder: Path) -> None:
    """A base model: no chat template, no padding token, learnt positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = own_tokenizer("<|endoftext|>")
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=128, **ends)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_qwen2(folder: Path) -> None:
    """An instruct model: grouped heads, ChatML without generation block."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = own_tokenizer("<|im_end|>", "<|im_start|>")
    tokenizer.chat_template = CHATML
    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    Qwen2ForCausalLM(
        Qwen2Config(vocab_size=len(tokenizer), max_position_embeddings=128, **shape, **ends)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("save", [save_gpt2, save_qwen2], ids=["gpt2", "qwen2"])
def test_a_model_of_another_make_answers(save: Any, tmp_path: Path) -> None:
    save(tmp_path)
    backend = LocalBackend(str(tmp_path))
    assert backend.context_tokens == 128
    short, long = backend.generate_batch([closed_book("Who?"), closed_book("When is the fair? " * 60)], max_tokens=6)
    for generation in (short, long):
        assert 1 <= generation.usage.completion_tokens <= 6
        assert len(generation.logprobs) == generation.usage.completion_tokens
    assert short.usage.prompt_tokens == len(
        backend.tokenizer(prompt_text(backend), add_special_tokens=False)["input_ids"]
    )
    assert long.usage.prompt_tokens == 128 - 6


def prompt_text(backend: LocalBackend) -> str:
    if backend.tokenizer.chat_template:
        return "<|im_start|>system\nAnswer in a few words.<|im_end|>\n<|im_start|>user\nQuestion: Who?<|im_end|>\n<|im_start|>assistant\n"
    return "Answer in a few words.\n\nQuestion: Who?\n"


@pytest.mark.parametrize("save", [save_gpt2, save_qwen2], ids=["gpt2", "qwen2"])
def test_a_model_of_another_make_is_fine_tuned(save: Any, tmp_path: Path) -> None:
    from groundtune.methods._causal_training import continue_training
    from groundtune.records import Example

    save(tmp_path / "base")
    examples = [Example("1", "1", "train", "When is the fair?", ("ninth of August",))]
    continue_training(
        str(tmp_path / "base"), examples, epochs=40, learning_rate=1e-2, seed=0, folder=tmp_path / "tuned"
    )
    assert LocalBackend(str(tmp_path / "tuned")).generate(closed_book("When is the fair?")).text == "ninth of August"


def test_names_and_folders(tmp_path: Path) -> None:
    assert model_path("pebble") == str(BUNDLED_FOLDER)
    assert model_path(str(tmp_path)) == str(tmp_path)
    assert model_path("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"


@pytest.mark.parametrize("name", ["nobody/has-this-model", "no-such-model", "not a name at all!"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load_model(name)
    assert repr(name) in caught.value.problem
    assert "\n" not in caught.value.problem


@pytest.mark.parametrize("spoil", ["empty folder", "no weights", "cut-off weights", "broken config", "no tokenizer"])
def test_a_folder_that_is_no_model_is_refused(spoil: str, tiny_model_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_path, folder)
    match spoil:
        case "empty folder":
            shutil.rmtree(folder)
            folder.mkdir()
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "cut-off weights":
            (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
        case "broken config":
            (folder / "config.json").write_text("{", encoding="utf-8")
        case "no tokenizer":
            for file in folder.glob("token*"):
                file.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(str(folder))

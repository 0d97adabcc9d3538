"""Answers of a model with an adapter that stays beside it: the same alone and in a batch, and those of PEFT one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.backends.local import LocalBackend
from groundtune.dataset.prompts import closed_book, with_passages
from groundtune.dataset.render import render_prompt
from groundtune.records import Message

CONVERSATIONS: list[list[Message]] = [
    *(closed_book(f"What is the {word}?") for word in "price date name colour rule".split()),
    *(with_passages(["The fair is on 9 August. " * n], "When is the fair?") for n in (1, 2, 4, 6)),
]
KINDS = ["prompt tuning", "p-tuning", "prefix tuning", "LLaMA-Adapter", "bottleneck", "LoRA"]
VIRTUAL = 7


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(
    request: pytest.FixtureRequest,
    make_tiny_model: Callable[..., Any],
    tiny_tokenizer: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A random model with large weights: its answers differ from prompt to prompt. Rotary and learnt positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("base")
    if request.param == "llama":
        model = make_tiny_model()
    else:
        ends = {"bos_token_id": None, "eos_token_id": tiny_tokenizer.eos_token_id}
        size = {"n_positions": 256, "n_embd": 64, "n_layer": 2, "n_head": 2}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_tokenizer), **size, **ends))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.15 if "norm" not in name and "ln_" not in name else 1.0))
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def config_of(kind: str) -> Any:
    import peft

    task = {"task_type": "CAUSAL_LM"}
    match kind:
        case "prompt tuning":
            return peft.PromptTuningConfig(num_virtual_tokens=VIRTUAL, **task)
        case "p-tuning":
            return peft.PromptEncoderConfig(num_virtual_tokens=VIRTUAL, encoder_hidden_size=16, **task)
        case "prefix tuning":
            return peft.PrefixTuningConfig(num_virtual_tokens=VIRTUAL, **task)
        case "LLaMA-Adapter":
            return peft.AdaptionPromptConfig(adapter_len=5, adapter_layers=2, **task)
        case _:
            return peft.LoraConfig(r=4, target_modules="all-linear", **task)


def save_adapter(kind: str, base: Path, folder: Path) -> Path:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from groundtune.nn.bottleneck import BottleneckConfig, attach_bottleneck, save_bottleneck

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if kind == "bottleneck":
        attach_bottleneck(model, BottleneckConfig(size=8))
    else:
        model = get_peft_model(model, config_of(kind))
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    if kind == "bottleneck":
        save_bottleneck(model, folder)
    else:
        model.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_answers_as_one_by_one(kind: str, base: Path, tmp_path: Path) -> None:
    backend = LocalBackend(str(base), str(save_adapter(kind, base, tmp_path)))
    alone = [backend.generate(c, max_tokens=12) for c in CONVERSATIONS]
    assert len({g.text for g in alone}) > len(alone) / 2  # else nothing would be compared
    plain = LocalBackend(str(base)).generate_batch(CONVERSATIONS, max_tokens=12)
    assert sum(a.text != b.text for a, b in zip(alone, plain, strict=True)) > len(alone) / 2
    for size in (3, 16):
        together = backend.generate_batch(CONVERSATIONS, max_tokens=12, batch_size=size)
        for a, b in zip(alone, together, strict=True):
            assert (a.text, a.usage) == (b.text, b.usage)
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-3)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "bottleneck"])
def test_an_answer_is_peft_s_own_without_cache_and_padding(kind: str, base: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    backend = LocalBackend(str(base), str(save_adapter(kind, base, tmp_path)))
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(tmp_path))
    ours = backend.generate_batch(CONVERSATIONS[:6], max_tokens=6)
    for conversation, generation in zip(CONVERSATIONS[:6], ours, strict=True):
        ids = render_prompt(backend.tokenizer, conversation)
        expected = []
        for _ in generation.logprobs:
            with torch.no_grad():
                # prefix tuning keeps its tokens in a cache, whatever it is told
                cached = {} if kind == "prefix tuning" else {"use_cache": False}
                last = torch.log_softmax(theirs.eval()(input_ids=torch.tensor([ids]), **cached).logits[0, -1], -1)
            ids = [*ids, int(last.argmax())]
            expected.append(float(last.max()))
        assert generation.logprobs == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", ["prompt tuning", "prefix tuning"])
def test_virtual_tokens_take_their_places_from_the_context(kind: str, base: Path, tmp_path: Path) -> None:
    backend = LocalBackend(str(base), str(save_adapter(kind, base, tmp_path)))
    assert backend.context_tokens == 256 - VIRTUAL
    long = with_passages(["The fair is on 9 August. " * 200], "When is the fair?")
    answer = backend.generate(long, max_tokens=10)
    assert answer.usage.prompt_tokens == 256 - VIRTUAL - 10
    assert answer.usage.completion_tokens >= 1

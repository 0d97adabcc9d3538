"""The probe beside saved weights: small, the same for the same model however it is put together, and another for any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.nn.adapters.apply import apply_adapter
from groundtune.nn.checkpoints import load_model
from groundtune.nn.probe import FILE, TEXTS, check_probe, probe_logits, save_probe

Maker = Callable[..., Any]


def lively(model: Any, seed: int = 3) -> Any:
    """Large random weights."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.15)
    return model.eval()


@pytest.fixture
def model(make_tiny_model: Maker) -> Any:
    return lively(make_tiny_model())


def save_lora(model: Any, folder: Path) -> Any:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    adapted.save_pretrained(str(folder))
    return adapted.eval()


def test_logits_are_the_model_s_at_the_last_positions(model: Any, tiny_tokenizer: Any) -> None:
    found = probe_logits(model.train(), tiny_tokenizer)
    assert model.training
    assert found.shape == (3 * 8, 400)
    with torch.no_grad():
        ids = tiny_tokenizer(TEXTS[1])["input_ids"]
        assert torch.equal(found[8:16], model.eval()(torch.tensor([ids])).logits[0, -8:])
    assert torch.equal(probe_logits(model, None, [[1, 2, 3], [4]])[3:], model(torch.tensor([[4]])).logits[0].detach())


def test_the_same_weights_pass_and_others_do_not(model: Any, make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path) -> None:  # fmt: skip
    save_probe(tmp_path, model, tiny_tokenizer)
    assert check_probe(model, tmp_path) == 0
    assert check_probe(model.to(torch.bfloat16), tmp_path) > 1e-3
    with pytest.raises(InputError, match=r"off by \S+ standard deviations"):
        check_probe(lively(make_tiny_model(), seed=4), tmp_path)


def test_a_single_changed_matrix_is_seen(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    save_probe(tmp_path, model, tiny_tokenizer)
    with torch.no_grad():
        model.model.layers[1].self_attn.v_proj.weight.mul_(1.05)
    with pytest.raises(InputError, match="not the one that was saved"):
        check_probe(model, tmp_path)
    assert check_probe(model, tmp_path, tolerance=10) > 1e-3


def test_weights_that_are_no_numbers_are_seen(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    save_probe(tmp_path, model, tiny_tokenizer)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(InputError, match="off by nan"):
        check_probe(model, tmp_path, tolerance=1e9)


def test_a_logit_that_was_not_kept_counts_too(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Something that lifts one token far above the kept ones leaves their logits alone."""
    save_probe(tmp_path, model, tiny_tokenizer)
    kept = {int(t) for row in probe_logits(model, tiny_tokenizer).topk(64, dim=1).indices for t in row}
    other = next(t for t in range(400) if t not in kept) if len(kept) < 400 else None
    found = probe_logits(model, tiny_tokenizer)
    token = other if other is not None else int(found.sum(0).argmin())
    model.lm_head.register_forward_hook(
        lambda m, args, out: out + 50 * torch.nn.functional.one_hot(torch.tensor(token), 400)
    )
    with pytest.raises(InputError, match="not the one that was saved"):
        check_probe(model, tmp_path)


def test_adapted_merged_and_reloaded_are_one_model(
    model: Any, make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    before = probe_logits(model, tiny_tokenizer)
    adapted = save_lora(model, tmp_path / "adapter")
    moved = save_probe(tmp_path / "adapter", adapted, tiny_tokenizer, before_PV=before)
    assert moved is not None and moved > 0.1
    merged = apply_adapter(lively(make_tiny_model()), tmp_path / "adapter")
    assert check_probe(merged, tmp_path / "adapter") < 1e-4
    merged.save_pretrained(tmp_path / "merged")
    assert check_probe(type(merged).from_pretrained(tmp_path / "merged"), tmp_path / "adapter") < 1e-4
    with pytest.raises(InputError, match="not the one that was saved"):  # the adapter was forgotten
        check_probe(lively(make_tiny_model()), tmp_path / "adapter")


def test_training_that_changed_nothing_is_told(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    before = probe_logits(model, tiny_tokenizer)
    assert save_probe(tmp_path, model, tiny_tokenizer, before_PV=before) == 0


def test_loading_asks_the_probe(model: Any, make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    adapted = save_lora(model, tmp_path / "adapter")
    save_probe(tmp_path / "adapter", adapted, tiny_tokenizer)
    loaded, _ = load_model(str(tmp_path / "base"), adapter=str(tmp_path / "adapter"))
    assert check_probe(loaded, tmp_path / "adapter") < 1e-4
    lively(make_tiny_model(), seed=4).save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="not the one that was saved"):
        load_model(str(tmp_path / "base"), adapter=str(tmp_path / "adapter"))
    save_probe(tmp_path / "base", lively(make_tiny_model()), tiny_tokenizer)
    with pytest.raises(InputError, match="not the one that was saved"):
        load_model(str(tmp_path / "base"))


def test_a_probe_of_a_large_vocabulary_is_a_small_file(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=150_000, **shape)).eval()
    ids = [list(range(0, 150_000, 7_000))] * 3
    save_probe(tmp_path, model, None, texts=ids)
    assert (tmp_path / FILE).stat().st_size < 40_000
    assert check_probe(model, tmp_path) == 0


def test_a_model_with_virtual_tokens_answers_for_its_text(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    adapted = get_peft_model(model, PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"))
    save_probe(tmp_path, adapted, tiny_tokenizer)
    adapted.save_pretrained(str(tmp_path))
    assert check_probe(apply_adapter(model, tmp_path), tmp_path) < 1e-4


def test_a_classifier_has_a_probe(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    model = BertForSequenceClassification(BertConfig(vocab_size=400, **shape, num_labels=3)).eval()
    assert probe_logits(model, tiny_tokenizer).shape == (3, 3)
    save_probe(tmp_path, model, tiny_tokenizer)
    assert check_probe(model, tmp_path) == 0


def test_a_model_that_was_trained_on_packed_rows_has_a_probe(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from groundtune.nn.packed_attention import NAME

    save_probe(tmp_path, model, tiny_tokenizer)
    model.set_attn_implementation(NAME)
    assert check_probe(model, tmp_path) < 1e-4


@pytest.mark.parametrize("spoil", ["missing", "cut off", "no rows"])
def test_a_spoilt_probe_is_refused(spoil: str, model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_probe(tmp_path, model, tiny_tokenizer)
    file = tmp_path / FILE
    match spoil:
        case "missing":
            file.unlink()
        case "cut off":
            file.write_bytes(file.read_bytes()[:300])
        case "no rows":
            save_file(load_file(file), file)
    with pytest.raises(InputError, match="no probe"):
        check_probe(model, tmp_path)


def test_a_probe_of_another_vocabulary_is_refused(model: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    save_probe(tmp_path, model, tiny_tokenizer)
    model.resize_token_embeddings(408)
    with pytest.raises(InputError, match="asked for 24 x 400 logits"):
        check_probe(model, tmp_path)

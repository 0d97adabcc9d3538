"""Merging LoRA variants and IA3 by hand: the same logits as PEFT's own, and no adapter that does not fit goes by unseen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.nn.adapters.apply import apply_adapter
from groundtune.nn.adapters.files import read_adapter
from groundtune.nn.adapters.merge import merge_adapter

Maker = Callable[[], Any]
IDS = torch.tensor([[5, 60, 70, 12, 33, 21, 39, 8]])
#: a rounding; the logits below differ from the base's by a hundred thousand times as much
TOLERANCE = 1e-5


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**{"vocab_size": 80, **shape, **heads, **changes})).eval()


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    ends = {"bos_token_id": None, "eos_token_id": None}
    return GPT2LMHeadModel(GPT2Config(vocab_size=80, n_positions=64, n_embd=32, n_layer=2, n_head=2, **ends)).eval()


def classifier() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    return BertForSequenceClassification(BertConfig(vocab_size=80, max_position_embeddings=64, **shape)).eval()


def tied() -> Any:
    return llama(tie_word_embeddings=True)


def biased() -> Any:
    return llama(attention_bias=True)


def lora(**fields: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **fields})


def ia3(**fields: Any) -> Any:
    from peft import IA3Config

    return IA3Config(**{"task_type": "CAUSAL_LM", **fields})


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(IDS).logits
    return out


def save_trained(base: Any, config: Any, folder: Path) -> torch.Tensor:
    """Save an adapter whose every trainable number was moved; returns the logits of base and adapter."""
    from peft import get_peft_model

    model = get_peft_model(base, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(str(folder))
    return logits(model)


def peft_merged(base: Any, folder: Path) -> torch.Tensor:
    from peft import PeftModel

    return logits(PeftModel.from_pretrained(base, str(folder)).merge_and_unload())


def change_config(folder: Path, **fields: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    change(weights)
    save_file(weights, folder / "adapter_model.safetensors")


PATTERNS = {"rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6}, "alpha_pattern": {"1.self_attn.k_proj": 3}}
EMBEDDED = {"target_modules": ["embed_tokens", "q_proj"]}
KINDS: dict[str, tuple[Maker, Callable[[], Any]]] = {
    "lora": (llama, lora),
    "rslora": (llama, lambda: lora(use_rslora=True)),
    "dora": (llama, lambda: lora(use_dora=True)),
    "rslora and dora": (llama, lambda: lora(use_rslora=True, use_dora=True)),
    "patterns": (llama, lambda: lora(**PATTERNS)),
    "patterns, rslora": (llama, lambda: lora(use_rslora=True, **PATTERNS)),
    "pissa": (llama, lambda: lora(init_lora_weights="pissa")),
    "pissa and dora": (llama, lambda: lora(init_lora_weights="pissa", use_dora=True)),
    "other starts": (llama, lambda: lora(init_lora_weights="gaussian")),
    "some layers": (llama, lambda: lora(target_modules=["q_proj", "down_proj"], layers_to_transform=[1])),
    "a pattern for targets": (llama, lambda: lora(target_modules=r".*\.(q|v)_proj")),
    "embeddings": (llama, lambda: lora(**EMBEDDED)),
    "embeddings, dora": (llama, lambda: lora(use_dora=True, **EMBEDDED)),
    "biases of targets": (biased, lambda: lora(bias="lora_only", target_modules=["q_proj"])),
    "all biases": (gpt2, lambda: lora(bias="all")),
    "bias of its own": (biased, lambda: lora(lora_bias=True, target_modules=["q_proj", "v_proj"])),
    "head saved whole": (llama, lambda: lora(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    "rows of tokens": (llama, lambda: lora(target_modules=["q_proj"], trainable_token_indices=[5, 60])),
    "rows of named tokens": (
        llama,
        lambda: lora(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [5], "lm_head": [60, 8]}),
    ),
    "turned matrices": (gpt2, lora),
    "turned matrices, dora": (gpt2, lambda: lora(use_dora=True)),
    "turned matrices, pissa": (gpt2, lambda: lora(init_lora_weights="pissa")),
    "classifier": (classifier, lambda: lora(task_type="SEQ_CLS", target_modules=["query", "value"])),
    "ia3": (llama, ia3),
    "ia3, biases": (biased, ia3),
    "ia3, turned matrices": (gpt2, ia3),
    "ia3, classifier": (classifier, lambda: ia3(task_type="SEQ_CLS", target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"])),
    "tied, embeddings saved whole": (tied, lambda: lora(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    "tied, head saved whole": (tied, lambda: lora(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    "tied, kept tied": (
        tied,
        lambda: lora(target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    ),
    "tied, both adapted": (tied, lambda: lora(ensure_weight_tying=True, **EMBEDDED)),
    "tied, head adapted": (tied, lambda: lora(target_modules=["q_proj", "lm_head"])),
    "tied, rows of tokens": (tied, lambda: lora(target_modules=["q_proj"], trainable_token_indices=[5, 60])),
}  # fmt: skip
#: PEFT 0.21.2 merges these into the one matrix twice, or into the embedding too: its merged model is not its adapted one
PEFT_MERGES_WRONG = {"tied, both adapted", "tied, head adapted"}


@pytest.mark.parametrize("kind", KINDS)
def test_merged_by_hand_is_merged_by_peft(kind: str, tmp_path: Path) -> None:
    make, config = KINDS[kind]
    attached = save_trained(make(), config(), tmp_path)
    ours = apply_adapter(make(), tmp_path)
    assert float((logits(make()) - attached).abs().max()) > 1e-2
    assert float((logits(ours) - attached).abs().max()) < TOLERANCE
    if kind not in PEFT_MERGES_WRONG:
        assert float((logits(ours) - peft_merged(make(), tmp_path)).abs().max()) < TOLERANCE


@pytest.mark.parametrize("kind", [k for k in KINDS if k.startswith("tied")])
def test_a_tied_model_is_saved_and_loaded_as_merged(kind: str, tmp_path: Path) -> None:
    make, config = KINDS[kind]
    save_trained(make(), config(), tmp_path / "adapter")
    ours = apply_adapter(make(), tmp_path / "adapter")
    still_tied = ours.lm_head.weight is ours.model.embed_tokens.weight
    assert still_tied == (kind in {"tied, kept tied", "tied, both adapted", "tied, rows of tokens"})
    assert ours.config.tie_word_embeddings == still_tied
    ours.save_pretrained(tmp_path / "merged")
    reloaded = type(ours).from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert torch.equal(logits(reloaded), logits(ours))


def test_a_converted_pissa_adapter_is_a_plain_one_of_twice_the_rank(tmp_path: Path) -> None:
    from peft import get_peft_model

    model = get_peft_model(llama(), lora(init_lora_weights="pissa"))
    model.peft_config["default"].init_lora_weights = True  # as PEFT wants the start saved
    model.save_pretrained(str(tmp_path / "start"))
    model.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(str(tmp_path / "plain"), path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    saved = read_adapter(tmp_path / "plain")
    assert (saved.config["r"], saved.config["init_lora_weights"]) == (8, True)
    assert float((logits(apply_adapter(llama(), tmp_path / "plain")) - logits(model)).abs().max()) < TOLERANCE


def test_dora_by_the_paper() -> None:
    from groundtune.nn.adapters.lora import merged_weight

    base, down, up = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0], [1.0]])
    # s = 2: V = [[3, 0], [2, 4]], norms of its rows 3 and sqrt(20); m = (6, 5)
    merged = merged_weight(base, down, up, scale=2.0, magnitude_O=torch.tensor([6.0, 5.0]))
    expected = torch.tensor([[6.0, 0.0], [2 * 5 / 20**0.5, 4 * 5 / 20**0.5]])
    assert torch.allclose(merged, expected, atol=1e-6)


def test_merged_into_sixteen_bits_is_rounded_once(tmp_path: Path) -> None:
    save_trained(llama(), lora(), tmp_path)
    name, weights = "model.layers.0.mlp.up_proj", read_adapter(tmp_path).weights
    down, up = (weights[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
    base = llama().to(torch.bfloat16)
    expected = (base.get_submodule(name).weight.float() + 12 / 4 * (up @ down)).to(torch.bfloat16)
    assert torch.equal(apply_adapter(base, tmp_path).get_submodule(name).weight, expected)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A plain LoRA adapter to spoil."""
    save_trained(llama(), lora(), tmp_path / "adapter")
    return tmp_path / "adapter"


def test_the_number_of_changed_modules_is_told(adapter: Path) -> None:
    assert merge_adapter(llama(), read_adapter(adapter)) == 2 * 7


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("spoil", ["missing", "cut off"])
def test_a_missing_or_cut_off_file_is_refused(adapter: Path, name: str, spoil: str) -> None:
    if spoil == "missing":
        (adapter / name).unlink()
    else:
        (adapter / name).write_bytes((adapter / name).read_bytes()[:200])
    with pytest.raises(InputError, match="no adapter"):
        apply_adapter(llama(), adapter)


def test_a_pickle_is_refused(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(InputError, match="is a pickle") as caught:
        apply_adapter(llama(), adapter)
    assert "safe_serialization=True" in caught.value.next_step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_lora_weights": "pissa_niter_4"}, "changed the base model when training began"),
        ({"init_lora_weights": "olora"}, "changed the base model when training began"),
        ({"init_lora_weights": "loftq"}, "changed the base model when training began"),
        ({"alora_invocation_tokens": [1, 2]}, "it uses alora_invocation_tokens"),
        ({"layer_replication": [[0, 2]]}, "it uses layer_replication"),
        ({"invented_next_year": True}, "it uses invented_next_year"),
    ],
)
def test_a_variant_that_is_not_known_is_refused(adapter: Path, change: dict[str, Any], message: str) -> None:
    change_config(adapter, **change)
    with pytest.raises(InputError, match=message):
        apply_adapter(llama(), adapter)


def test_a_config_without_a_kind_is_refused(adapter: Path) -> None:
    change_config(adapter, peft_type=None)
    with pytest.raises(InputError, match="has no peft_type"):
        apply_adapter(llama(), adapter)


def test_a_kind_that_is_not_known_is_refused(adapter: Path) -> None:
    change_config(adapter, peft_type="XLORA")
    with pytest.raises(InputError, match="XLORA are not known") as caught:
        apply_adapter(llama(), adapter)
    assert "BOTTLENECK" in caught.value.expected and "merge_and_unload" in caught.value.next_step


def test_an_adapter_of_a_wider_model_is_refused(adapter: Path) -> None:
    with pytest.raises(InputError, match=r"does not fit: it is \(64, 48\), the adapter \(32, 48\)"):
        apply_adapter(llama(hidden_size=64), adapter)


def test_an_adapter_of_a_deeper_model_is_refused(adapter: Path) -> None:
    with pytest.raises(InputError, match=r"layers\.1\.\S+ is not in this model"):
        apply_adapter(llama(num_hidden_layers=1), adapter)


def test_an_adapter_of_a_shallower_model_is_refused(tmp_path: Path) -> None:
    save_trained(llama(), lora(target_modules=["q_proj", "v_proj"]), tmp_path)
    with pytest.raises(InputError, match="weights of 2 modules are missing"):
        apply_adapter(llama(num_hidden_layers=3), tmp_path)


def test_an_adapter_that_names_a_base_of_another_shape_is_refused(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "base")
    from transformers import LlamaForCausalLM

    save_trained(LlamaForCausalLM.from_pretrained(tmp_path / "base"), ia3(target_modules=["q_proj"], feedforward_modules=[]), tmp_path / "adapter")  # fmt: skip
    apply_adapter(llama(), tmp_path / "adapter")
    with pytest.raises(InputError, match="whose hidden_size is 32; this model's is 64"):
        apply_adapter(llama(hidden_size=64), tmp_path / "adapter")


@pytest.mark.parametrize("change", ["a stray tensor", "a head nobody named", "half a pair", "a whole pair away"])
def test_a_tensor_too_many_or_too_few_is_refused(adapter: Path, change: str) -> None:
    first = "base_model.model.model.layers.0.mlp.up_proj"

    def spoil(weights: dict[str, torch.Tensor]) -> None:
        match change:
            case "a stray tensor":
                weights["base_model.model.model.layers.0.mlp.up_proj.weight"] = torch.zeros(48, 32)
            case "a head nobody named":
                weights["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
            case "half a pair":
                del weights[f"{first}.lora_B.weight"]
            case "a whole pair away":
                del weights[f"{first}.lora_A.weight"], weights[f"{first}.lora_B.weight"]

    change_weights(adapter, spoil)
    messages = {
        "a stray tensor": "1 of its 29 tensors have no place",
        "a head nobody named": r"is \(80, 32\), the adapter's \(2, 2\)",
        "half a pair": "does not fit: 'lora_B.weight'",
        "a whole pair away": "weights of 1 modules are missing",
    }
    with pytest.raises(InputError, match=messages[change]):
        apply_adapter(llama(), adapter)


def test_a_rank_that_is_not_the_config_s_is_refused(adapter: Path) -> None:
    change_config(adapter, r=16)
    with pytest.raises(InputError, match="its rank is 4, the config says 16"):
        apply_adapter(llama(), adapter)


def test_a_whole_module_that_was_not_saved_is_missed(tmp_path: Path) -> None:
    save_trained(llama(), lora(target_modules=["q_proj"], modules_to_save=["lm_head"]), tmp_path)
    change_weights(tmp_path, lambda weights: weights.pop("base_model.model.lm_head.weight"))
    with pytest.raises(InputError, match=r"weights of 1 modules are missing, lm_head\.weight"):
        apply_adapter(llama(), tmp_path)


def test_ia3_factors_of_another_size_are_refused(tmp_path: Path) -> None:
    save_trained(llama(), ia3(), tmp_path)
    key = "base_model.model.model.layers.0.self_attn.k_proj.ia3_l"
    change_weights(tmp_path, lambda weights: weights.update({key: torch.ones(3, 1)}))
    with pytest.raises(InputError, match=r"it is \(16, 32\), the adapter's factors \(3, 1\)"):
        apply_adapter(llama(), tmp_path)


def test_a_merge_into_four_bits_is_refused(adapter: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = copy.deepcopy(llama())
    layer = model.model.layers[0].mlp
    layer.up_proj = bitsandbytes.nn.Linear4bit(32, 48, bias=False)
    with pytest.raises(InputError, match="quantized model") as caught:
        apply_adapter(model, adapter)
    assert "16 or 32 bits" in caught.value.expected and "without quantization" in caught.value.next_step


def test_a_merge_into_a_model_that_says_it_is_quantized_is_refused(adapter: Path) -> None:
    model = llama()
    model.is_quantized = True
    with pytest.raises(InputError, match="quantized model"):
        apply_adapter(model, adapter)

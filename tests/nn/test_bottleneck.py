"""Bottleneck adapters: the papers' formula and count, nothing changed at the start, saved and loaded whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import ConfigError, InputError
from groundtune.nn.adapters.apply import apply_adapter
from groundtune.nn.bottleneck import Bottleneck, BottleneckConfig, attach_bottleneck, save_bottleneck

Maker = Callable[..., Any]
IDS = torch.tensor([[5, 60, 70, 12, 33, 21, 39, 8]])
WIDTH = 32


def make(kind: str, *, layers: int = 2, width: int = WIDTH) -> Any:
    import transformers as tf

    torch.manual_seed(0)
    named = {"vocab_size": 80, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2}
    inner = {"intermediate_size": 48, "max_position_embeddings": 64}
    match kind:
        case "llama":
            return tf.LlamaForCausalLM(tf.LlamaConfig(**named, **inner))
        case "qwen3":
            return tf.Qwen3ForCausalLM(tf.Qwen3Config(**named, **inner, num_key_value_heads=1, head_dim=16))
        case "gpt2":
            ends = {"bos_token_id": None, "eos_token_id": None}
            return tf.GPT2LMHeadModel(
                tf.GPT2Config(vocab_size=80, n_embd=width, n_layer=layers, n_head=2, n_positions=64, **ends)
            )
        case "opt":
            return tf.OPTForCausalLM(
                tf.OPTConfig(**named, ffn_dim=48, max_position_embeddings=64, word_embed_proj_dim=width)
            )
        case "bert":
            return tf.BertForMaskedLM(tf.BertConfig(**named, **inner))
        case "bert classifier":
            return tf.BertForSequenceClassification(tf.BertConfig(**named, **inner))
        case "roberta classifier":
            return tf.RobertaForSequenceClassification(tf.RobertaConfig(**named, **inner))
        case "llama classifier":
            return tf.LlamaForSequenceClassification(tf.LlamaConfig(**named, **inner, pad_token_id=0))
        case "distilbert classifier":
            config = tf.DistilBertConfig(vocab_size=80, dim=width, n_layers=layers, n_heads=2, hidden_dim=48)
            return tf.DistilBertForSequenceClassification(config)
    raise ValueError(kind)


KINDS = ["llama", "qwen3", "gpt2", "opt", "bert", "bert classifier", "roberta classifier", "llama classifier", "distilbert classifier"]  # fmt: skip
HEADS = {
    "bert classifier": {"classifier"},
    "roberta classifier": {"classifier"},
    "llama classifier": {"score"},
    "distilbert classifier": {"pre_classifier", "classifier"},
}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(IDS).logits
    return out


def move(model: Any) -> None:
    """Move every trainable number."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def trained(model: Any) -> dict[str, Any]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def test_one_adapter_computes_the_paper_s_formula() -> None:
    adapter = Bottleneck(3, 2, "relu")
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))  # W_down, turned: (M, D)
        adapter.down.bias.copy_(torch.tensor([0.5, -3.0]))
        adapter.up.weight.copy_(torch.tensor([[1.0, 7.0], [0.0, 7.0], [-2.0, 7.0]]))  # W_up, turned: (D, M)
        adapter.up.bias.copy_(torch.tensor([0.0, 0.25, 0.0]))
    # h = (1, 2, 3): h W_down + b = (1 + 6 + 0.5, 2 - 3) = (7.5, -1), relu (7.5, 0), W_up + b (7.5, 0.25, -15)
    with torch.no_grad():
        assert adapter(torch.tensor([[[1.0, 2.0, 3.0]]])).tolist() == [[[8.5, 2.25, -12.0]]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("placement", "each"), [("houlsby", 2), ("pfeiffer", 1)])
def test_an_untrained_adapter_changes_no_bit(kind: str, placement: str, each: int) -> None:
    model = make(kind)
    before = logits(model)
    names = attach_bottleneck(model, BottleneckConfig(placement=placement, size=4))
    assert len(names) == 2 * each
    assert torch.equal(logits(model), before)
    for name in names:
        count = sum(p.numel() for p in model.get_submodule(name).parameters())
        assert count == 2 * 4 * WIDTH + WIDTH + 4  # 2md + d + m: Houlsby et al., section 2.1


@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_and_a_classifier_s_head_are_trained_and_every_one_is_reached(kind: str) -> None:
    model = make(kind)
    names = attach_bottleneck(model, BottleneckConfig(size=4))
    own = {name.split(".")[0] for name in trained(model) if ".bottleneck." not in name}
    assert own == HEADS.get(kind, set())
    assert {n.rpartition(".bottleneck")[0] for n in trained(model)} - {""} == {n.rpartition(".")[0] for n in names}
    move(model)  # at the start W_up is zero and nothing reaches W_down
    model.train()(IDS).logits.float().pow(2).sum().backward()
    reached = {name: float(p.grad.abs().max()) for name, p in model.named_parameters() if p.grad is not None}
    assert reached.keys() == trained(model).keys()
    assert all(size > 0 for size in reached.values()), reached


def test_each_adapter_stands_before_the_residual_addition() -> None:
    """With the sublayers' own outputs at zero, each half of a layer adds exactly what its adapter makes of zero: its bias."""
    for kind, last in (("llama", ("self_attn.o_proj", "mlp.down_proj")), ("gpt2", ("attn.c_proj", "mlp.c_proj"))):
        model = make(kind, layers=1).eval()
        names = attach_bottleneck(model, BottleneckConfig(size=4))
        layer = names[0].rpartition(".")[0].rpartition(".")[0]
        with torch.no_grad():
            for name in last:
                for parameter in model.get_submodule(f"{layer}.{name}").parameters():
                    parameter.zero_()
            for at, name in enumerate(names):
                model.get_submodule(name).up.bias.fill_(1.0 + at)
            seen: dict[str, torch.Tensor] = {}

            def look(module: Any, inputs: Any, output: Any, seen: dict[str, torch.Tensor] = seen) -> None:
                seen["in"], seen["out"] = inputs[0], output

            model.get_submodule(layer).register_forward_hook(look)
            model(IDS)
        assert torch.allclose(seen["out"] - seen["in"], torch.tensor(1.0 + 2.0), atol=1e-6)


def test_bert_s_adapters_stand_between_dropout_and_addition() -> None:
    model = make("bert classifier", layers=1).eval()
    names = attach_bottleneck(model, BottleneckConfig(size=4))
    assert names == [
        "bert.encoder.layer.0.attention.output.dropout.bottleneck",
        "bert.encoder.layer.0.output.dropout.bottleneck",
    ]
    move(model)
    output = model.bert.encoder.layer[0].output
    hidden, residual = torch.randn(1, 3, 48), torch.randn(1, 3, WIDTH)
    with torch.no_grad():
        h = output.dense(hidden)
        adapter = output.dropout.bottleneck
        inner = torch.nn.functional.gelu(h @ adapter.down.weight.T + adapter.down.bias)
        expected = output.LayerNorm(h + inner @ adapter.up.weight.T + adapter.up.bias + residual)
        assert torch.allclose(output(hidden, residual), expected, atol=1e-6)


def test_layer_norms_are_trained_where_asked_for() -> None:
    model = make("bert classifier")
    attach_bottleneck(model, BottleneckConfig(size=4, train_layer_norms=True))
    norms = {n for n in trained(model) if "LayerNorm" in n}
    assert len(norms) == 2 * (1 + 2 * 2)  # weight and bias of the embeddings' and of two in each layer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norms", [False, True])
def test_saved_and_loaded_it_is_the_same(kind: str, norms: bool, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = make(kind)
    attach_bottleneck(model, BottleneckConfig(placement="pfeiffer", reduction_factor=8, train_layer_norms=norms))
    move(model)
    save_bottleneck(model, tmp_path)
    loaded = apply_adapter(make(kind), tmp_path)
    assert torch.equal(logits(loaded), logits(model))
    assert not torch.equal(logits(loaded), logits(make(kind)))
    assert not trained(loaded)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert saved.keys() == {f"base_model.model.{name}" for name in trained(model)}
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["peft_type"] == "BOTTLENECK"
    assert config["modules_to_save"] is None or set(config["modules_to_save"]) >= HEADS.get(kind, set())
    save_bottleneck(loaded, tmp_path / "again")
    assert load_file(tmp_path / "again" / "adapter_model.safetensors").keys() == saved.keys()


def test_a_copy_has_adapters_of_its_own() -> None:
    model = make("llama")
    attach_bottleneck(model, BottleneckConfig(size=4))
    before = logits(model)
    copied = copy.deepcopy(model)
    move(model)
    assert torch.equal(logits(copied), before)
    assert not torch.equal(logits(model), before)


def test_a_model_in_sixteen_bits_stays_so() -> None:
    model = make("llama").to(torch.bfloat16)
    before = logits(model)
    attach_bottleneck(model, BottleneckConfig(size=4))
    assert {p.dtype for p in trained(model).values()} == {torch.float32}
    assert logits(model).dtype == torch.bfloat16
    assert torch.equal(logits(model), before)


def save(folder: Path) -> None:
    model = make("llama")
    attach_bottleneck(model, BottleneckConfig(size=4))
    save_bottleneck(model, folder)


@pytest.mark.parametrize("change", ["one too few", "one too many", "another shape"])
def test_tensors_that_do_not_fit_are_refused(change: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    first = min(weights)
    match change:
        case "one too few":
            del weights[first]
        case "one too many":
            weights[first.replace("layers.0", "layers.7")] = torch.zeros(2)
        case "another shape":
            weights[first] = torch.zeros(5)
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match="1 tensors are missing, surplus or of another shape"):
        apply_adapter(make("llama"), tmp_path)


@pytest.mark.parametrize("other", [{"layers": 3}, {"width": 64}])
def test_an_adapter_of_another_shape_is_refused(other: dict[str, int], tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(InputError, match="this model's"):
        apply_adapter(make("llama", **other), tmp_path)


def test_an_adapter_of_another_architecture_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(InputError, match="model_type is llama, this model's gpt2"):
        apply_adapter(make("gpt2"), tmp_path)


def test_a_config_without_a_field_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    file = tmp_path / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    del config["non_linearity"]
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="'non_linearity'"):
        apply_adapter(make("llama"), tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BottleneckConfig(placement="parallel"), "placement 'parallel'"),
        (BottleneckConfig(non_linearity="square root"), "non_linearity 'square root'"),
        (BottleneckConfig(reduction_factor=64), "a bottleneck of size 0"),
        (BottleneckConfig(size=0), "a bottleneck of size 0"),
    ],
)
def test_a_field_that_cannot_be_is_refused(config: BottleneckConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attach_bottleneck(make("llama"), config)


def test_a_second_adapter_is_refused() -> None:
    model = make("llama")
    attach_bottleneck(model, BottleneckConfig(size=4))
    with pytest.raises(ConfigError, match="already"):
        attach_bottleneck(model, BottleneckConfig(size=4))


def test_an_architecture_that_is_not_known_is_refused_and_left_alone() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=80, hidden_size=32, num_hidden_layers=2, state_size=4))
    with pytest.raises(ConfigError, match="layers of MambaForCausalLM were not found"):
        attach_bottleneck(model, BottleneckConfig(size=4))
    assert all(p.requires_grad for p in model.parameters())


def test_it_learns_and_a_killed_run_resumes_in_the_same_weights(
    make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    from groundtune.dataset.prompts import closed_book
    from groundtune.dataset.render import render_example
    from groundtune.records import Message
    from groundtune.training.data import RowBatches
    from groundtune.training.trainer import TrainSettings, train

    conversation = [*closed_book("Who keeps the mill?"), Message("assistant", "Rolf Aden")]
    row = render_example(tiny_tokenizer, conversation, max_tokens=256, where="test")
    batches = RowBatches([row], batch_tokens=256, epochs=24, seed=0)

    def run(folder: Path, stop_at: int | None = None) -> Any:
        model = make_tiny_model()
        with torch.no_grad():  # a fresh layer writes next to nothing, and an adapter reads what its layer writes
            for name, parameter in model.named_parameters():
                parameter.mul_(1 if "norm" in name else 6)
        attach_bottleneck(model, BottleneckConfig(size=16))

        def progress(step: int, steps: int, loss: float) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        settings = TrainSettings(learning_rate=0.02, warmup_steps=0, save_every_steps=8)
        result = train(model, batches, settings, folder, progress=progress)
        return model, result

    model, result = run(tmp_path / "straight")
    assert result.last_loss < result.first_loss - 1.0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", stop_at=18)
    resumed, _ = run(tmp_path / "killed")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))

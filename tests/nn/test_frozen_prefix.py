"""Training the top layers over cached hidden states is training them, bit by bit, over the whole frozen model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError, WorkspaceError
from groundtune.nn.frozen_prefix import STATES, FrozenPrefix, linear_names
from groundtune.nn.packed_attention import NAME as PER_DOCUMENT
from groundtune.nn.prefix_states import PrefixBatches, PrefixStates
from groundtune.training.data import IGNORED, PackedBatches, RowBatches

Maker = Callable[[], Any]


def make(kind: str, *, dropout: float = 0.0, layers: int = 4) -> Any:
    import transformers as tf

    torch.manual_seed(0)
    named = {"vocab_size": 80, "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2}
    inner = {"intermediate_size": 48, "max_position_embeddings": 64}
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    match kind:
        case "llama":
            model = tf.LlamaForCausalLM(tf.LlamaConfig(**named, **inner, attention_dropout=dropout))
        case "tied llama":
            model = tf.LlamaForCausalLM(tf.LlamaConfig(**named, **inner, tie_word_embeddings=True))
        case "qwen3":
            model = tf.Qwen3ForCausalLM(tf.Qwen3Config(**named, **inner, num_key_value_heads=1, head_dim=16))
        case "gemma3":  # two kinds of layers in turns, two kinds of positions, scaled embeddings
            types = ["sliding_attention", "full_attention"] * (layers // 2)
            config = tf.Gemma3TextConfig(
                **named, **inner, num_key_value_heads=1, head_dim=16, layer_types=types, sliding_window=4
            )
            model = tf.Gemma3ForCausalLM(config)
        case "gpt2":
            rates = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
            ends = {"bos_token_id": None, "eos_token_id": None}
            model = tf.GPT2LMHeadModel(
                tf.GPT2Config(vocab_size=80, n_embd=32, n_layer=layers, n_head=2, n_positions=64, **rates, **ends)
            )
        case "opt":
            config = tf.OPTConfig(
                **named, ffn_dim=48, max_position_embeddings=64, word_embed_proj_dim=32, dropout=dropout
            )
            model = tf.OPTForCausalLM(config)
        case "bert":
            model = tf.BertForSequenceClassification(tf.BertConfig(**named, **inner, **drops))
        case _:
            raise ValueError(kind)
    return model


DECODERS = ["llama", "tied llama", "qwen3", "gemma3", "gpt2", "opt"]
WITHOUT_SLIDING = [kind for kind in DECODERS if kind != "gemma3"]


def token_rows(lengths: Sequence[int] = (5, 9, 12, 7, 12, 3)) -> list[TokenRow]:
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(0, 80, (n,), generator=generator).tolist() for n in lengths]
    return [TokenRow(tuple(r), tuple(t >= len(r) // 3 for t in range(len(r)))) for r in rows]


def loss_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The trainer's supervised loss with one more name among the places."""
    labels_BT = batch["labels"]
    keep_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
    keep_BT[:, :-1] = labels_BT[:, 1:] != IGNORED
    places = {name: batch[name] for name in ("position_ids", "cu_seq_lens_q", STATES) if name in batch}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_BTD = base.get_decoder()(input_ids=batch["input_ids"], use_cache=False, **places).last_hidden_state
    logits_NV = base.get_output_embeddings()(hidden_BTD[keep_BT])
    return torch.nn.functional.cross_entropy(logits_NV.float(), labels_BT[:, 1:][keep_BT[:, :-1]])


def gradients(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    torch.manual_seed(9)  # of dropout
    loss = loss_of(model.train(), batch)
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[n], b[n], rtol=1e-4, atol=1e-6) for n in a)


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_padded_batch_has_the_same_loss_and_gradients(kind: str, dropout: float) -> None:
    model = make(kind, dropout=dropout)
    prefix = FrozenPrefix(model, top_layers=2)
    batch = RowBatches(token_rows(), batch_tokens=64, epochs=1, seed=0)[0]
    assert len(batch["input_ids"]) > 1
    loss, whole = gradients(model, batch)
    cached_loss, cached = gradients(model, {**batch, STATES: prefix.run(batch["input_ids"])})
    assert torch.equal(loss, cached_loss)
    assert same(whole, cached)
    assert len(whole) > 2
    assert all(float(g.abs().max()) > 0 for n, g in whole.items() if "k_proj.bias" not in n)  # no effect on a softmax


def test_the_frozen_layers_do_not_run_again() -> None:
    model = make("llama")
    prefix = FrozenPrefix(model, top_layers=1)
    states, ran = prefix.run(torch.tensor([[5, 60, 70]])), []
    for number, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda m, args, out, number=number: ran.append(number))
    prefix.forward_from(states)
    assert ran == [3]
    prefix.run(torch.tensor([[5, 60, 70]]))
    assert ran == [3, 0, 1, 2]


def test_dropout_is_at_work_above_and_not_below() -> None:
    model = make("gpt2", dropout=0.3)
    prefix = FrozenPrefix(model, top_layers=2)
    batch = RowBatches(token_rows(), batch_tokens=64, epochs=1, seed=0)[0]
    model.train()
    first, second = prefix.run(batch["input_ids"]), prefix.run(batch["input_ids"])
    assert torch.equal(first, second)
    assert not torch.equal(prefix.forward_from(first), prefix.forward_from(first))
    assert model.transformer.h[3].training and not model.transformer.h[1].training


@pytest.mark.parametrize("kind", WITHOUT_SLIDING)
def test_a_packed_batch_has_the_same_loss_and_gradients(kind: str) -> None:
    model = make(kind)
    model.set_attn_implementation(PER_DOCUMENT)
    prefix = FrozenPrefix(model, top_layers=1)
    batch = PackedBatches(token_rows(), batch_tokens=64, epochs=1, seed=0)[0]
    assert len(batch["cu_seq_lens_q"]) > 3
    places = {name: batch[name] for name in ("position_ids", "cu_seq_lens_q")}
    loss, whole = gradients(model, batch)
    cached_loss, cached = gradients(model, {**batch, STATES: prefix.run(batch["input_ids"], **places)})
    assert torch.equal(loss, cached_loss)
    assert same(whole, cached)


@pytest.mark.parametrize("kind", WITHOUT_SLIDING)
@pytest.mark.parametrize("packed", [False, True])
def test_rows_cached_one_by_one_serve_every_batch(kind: str, packed: bool) -> None:
    model, rows = make(kind), token_rows()
    if packed:
        model.set_attn_implementation(PER_DOCUMENT)
    prefix = FrozenPrefix(model, top_layers=2)
    batches = (PackedBatches if packed else RowBatches)(rows, batch_tokens=30, epochs=2, seed=0)
    cached = PrefixBatches(batches, PrefixStates(prefix, [row.ids for row in rows]))
    assert len(cached) == len(batches) > 3
    for step in range(len(batches)):
        loss, whole = gradients(model, batches[step])
        cached_loss, parts = gradients(model, cached[step])
        assert float(cached_loss) == pytest.approx(float(loss), rel=1e-6)
        assert close(whole, parts)


def test_training_over_cached_states_ends_in_the_same_weights() -> None:
    rows = token_rows()
    batches = RowBatches(rows, batch_tokens=30, epochs=12, seed=0)

    def trained(with_cache: bool) -> Any:
        model = make("llama", dropout=0.1)
        prefix = FrozenPrefix(model, top_layers=2)
        items: Any = batches
        if with_cache:
            items = PrefixBatches(batches, PrefixStates(prefix, [row.ids for row in rows]))
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
        losses = []
        for step in range(len(items)):
            torch.manual_seed(step)
            loss = loss_of(model.train(), items[step])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return model, losses

    (whole, losses), (cached, cached_losses) = trained(False), trained(True)
    assert sum(losses[-4:]) / 4 < sum(losses[:4]) / 4 - 0.3
    assert cached_losses == pytest.approx(losses, rel=1e-4)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(whole.parameters(), cached.parameters(), strict=True))


def test_what_is_frozen_and_what_is_not() -> None:
    kinds = {
        "llama": ({"model.layers.3", "model.norm", "lm_head"}, 1),
        "tied llama": ({"model.layers.2", "model.layers.3", "model.norm"}, 2),  # its head is the frozen embedding
        "gpt2": ({"transformer.h.3", "transformer.ln_f"}, 1),
        "opt": ({"model.decoder.layers.3", "model.decoder.final_layer_norm"}, 1),
        "bert": ({"bert.encoder.layer.3", "bert.pooler", "classifier"}, 1),
    }
    for kind, (parts, count) in kinds.items():
        model = make(kind)
        prefix = FrozenPrefix(model, top_layers=count)
        assert prefix.first_layer == 4 - count
        trained = {n for n, p in model.named_parameters() if p.requires_grad}
        assert {part for part in parts if any(n.startswith(part + ".") for n in trained)} == parts
        assert not [n for n in trained if not any(n.startswith(part + ".") for part in parts)]


def test_an_encoder_with_a_mask_has_the_same_loss_and_gradients() -> None:
    model = make("bert", dropout=0.3)
    prefix = FrozenPrefix(model, top_layers=2)
    rows = token_rows()
    width = max(len(r.ids) for r in rows)
    ids = torch.tensor([[*r.ids, *[0] * (width - len(r.ids))] for r in rows])
    mask = torch.tensor([[1] * len(r.ids) + [0] * (width - len(r.ids)) for r in rows])
    labels = torch.tensor([0, 1] * 3)

    def run(**more: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        torch.manual_seed(9)
        loss = model.train()(input_ids=ids, attention_mask=mask, labels=labels, **more).loss
        loss.backward()
        return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    loss, whole = run()
    cached_loss, cached = run(**{STATES: prefix.run(ids, attention_mask=mask)})
    assert torch.equal(loss, cached_loss)
    assert same(whole, cached)
    assert "classifier.weight" in whole and "bert.pooler.dense.weight" in whole
    apart = PrefixStates(prefix, [r.ids for r in rows]).padded(range(len(rows)), width)
    other_loss, other = run(**{STATES: apart})
    assert float(other_loss) == pytest.approx(float(loss), rel=1e-5)
    assert close(whole, other)


def test_lora_in_the_top_layers_has_the_same_gradients() -> None:
    from peft import LoraConfig, get_peft_model

    base = make("llama")
    names = linear_names(base, top_layers=2)
    assert len(names) == 2 * 7
    model = get_peft_model(base, LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    prefix = FrozenPrefix(model, top_layers=2)
    batch = RowBatches(token_rows(), batch_tokens=64, epochs=1, seed=0)[0]
    loss, whole = gradients(model, batch)
    cached_loss, cached = gradients(model, {**batch, STATES: prefix.run(batch["input_ids"])})
    assert torch.equal(loss, cached_loss)
    assert len(whole) == 2 * 2 * 7
    assert same(whole, cached)


def test_adapters_below_the_top_layers_are_frozen() -> None:
    from groundtune.nn.bottleneck import BottleneckConfig, attach_bottleneck

    model = make("gpt2")
    names = attach_bottleneck(model, BottleneckConfig(size=4))
    FrozenPrefix(model, top_layers=1)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {n.rpartition(".bottleneck")[0] + ".bottleneck" for n in trained} == set(names[-2:])


def test_bf16_states_are_half_as_large_and_nearly_the_same() -> None:
    model, rows = make("llama"), token_rows()
    prefix, ids = FrozenPrefix(model, top_layers=2), [r.ids for r in rows]
    exact, rounded = PrefixStates(prefix, ids), PrefixStates(prefix, ids, dtype=torch.bfloat16)
    assert exact.nbytes == 4 * 32 * sum(map(len, ids)) == 2 * rounded.nbytes
    whole, near = prefix.forward_from(exact.row(2)[None]), prefix.forward_from(rounded.row(2)[None])
    assert near.dtype == torch.float32
    assert 0 < float((whole - near).detach().abs().max()) < 0.05 * float(whole.detach().std())


def test_over_the_budget_the_states_go_into_a_file(tmp_path: Path) -> None:
    model, rows = make("llama"), token_rows()
    prefix, ids = FrozenPrefix(model, top_layers=2), [r.ids for r in rows]
    for dtype in (torch.float32, torch.bfloat16):
        kept = PrefixStates(prefix, ids, dtype=dtype)
        spilled = PrefixStates(prefix, ids, dtype=dtype, memory_bytes=100, folder=tmp_path / "cache")
        assert kept.file is None and spilled.file == tmp_path / "cache" / "prefix_states.bin"
        assert spilled.file.stat().st_size == spilled.nbytes == kept.nbytes
        assert torch.equal(kept.padded([4, 0], 12), spilled.padded([4, 0], 12))
        assert torch.equal(kept.packed([1, 5]), spilled.packed([1, 5]))
        assert spilled.file.read_bytes() == kept.packed(range(len(ids))).view(torch.uint8).numpy().tobytes()


def test_no_folder_and_no_room_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    prefix, ids = FrozenPrefix(make("llama"), top_layers=2), [r.ids for r in token_rows()]
    with pytest.raises(ConfigError, match="need 6,144 bytes, over the 100"):
        PrefixStates(prefix, ids, memory_bytes=100)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(WorkspaceError, match="No space left on device"):
        PrefixStates(prefix, ids, memory_bytes=100, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_progress_is_told_and_padding_is_zero() -> None:
    ids, seen = [r.ids for r in token_rows()], []
    prefix = FrozenPrefix(make("llama"), top_layers=2)
    states = PrefixStates(prefix, ids, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]
    padded = states.padded([0, 1], 11)
    assert padded.shape == (2, 11, 32)
    assert float(padded[0, 5:].abs().max()) == 0 < float(padded[0, :5].abs().min())


def test_an_ordinary_call_and_a_closed_prefix_are_the_model_s_own() -> None:
    plain, model = make("llama").eval(), make("llama").eval()
    ids = torch.tensor([[5, 60, 70, 12]])
    prefix = FrozenPrefix(model, top_layers=1)
    assert list(model.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        states = prefix.run(ids)
        prefix.forward_from(states)
        assert torch.equal(model(ids).logits, plain(ids).logits)
        assert model.generate(ids, max_new_tokens=4, do_sample=False).tolist() == (
            plain.generate(ids, max_new_tokens=4, do_sample=False).tolist()
        )
        prefix.close()
        with pytest.raises((TypeError, AssertionError)):
            torch.testing.assert_close(model.get_decoder()(ids, **{STATES: states}), None)
    assert list(model.state_dict()) == list(plain.state_dict())


def test_an_error_in_the_top_layers_leaves_the_model_whole() -> None:
    model = make("llama").eval()
    prefix = FrozenPrefix(model, top_layers=1)
    states = prefix.run(torch.tensor([[5, 60, 70, 12]]))
    with pytest.raises(RuntimeError):
        prefix.forward_from(states, position_ids=torch.zeros((3, 7), dtype=torch.long))
    assert len(model.model.layers) == 4
    assert type(model.model.layers[0]).__name__ == "LlamaDecoderLayer"
    assert copy.deepcopy(model)(torch.tensor([[5, 60]])).logits.shape == (1, 2, 80)


@pytest.mark.parametrize("top", [0, 4, 9])
def test_a_number_of_layers_that_cannot_be_is_refused(top: int) -> None:
    with pytest.raises(ConfigError, match="top layers of 4"):
        FrozenPrefix(make("llama"), top_layers=top)


def test_virtual_tokens_are_refused() -> None:
    from peft import PrefixTuningConfig, get_peft_model

    model = get_peft_model(make("llama"), PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    with pytest.raises(ConfigError, match="go through every layer"):
        FrozenPrefix(model, top_layers=1)


def test_an_architecture_whose_layers_need_more_than_hidden_states_is_refused() -> None:
    model = make("llama")
    body = model.model

    class Peeks(torch.nn.Module):
        """A last layer that also reads what the first one wrote."""

        def __init__(self, layer: torch.nn.Module) -> None:
            super().__init__()
            self.self_attn = layer.self_attn
            self.layer = layer

        def forward(self, hidden: torch.Tensor, **more: Any) -> Any:
            return self.layer(hidden, **more) + body.first

    body.register_forward_pre_hook(lambda m, args: setattr(body, "first", torch.zeros(())))
    body.layers[0].register_forward_hook(lambda m, args, out: setattr(body, "first", out.detach() * 2))
    body.layers[3] = Peeks(body.layers[3])
    with pytest.raises(ConfigError, match="cannot be trained alone: run alone they are off by"):
        FrozenPrefix(model, top_layers=2)
    assert len(body._forward_pre_hooks) == 1

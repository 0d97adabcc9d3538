"""LoRA adapters beside one base: each row as if the adapter were merged into a model of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.generation.engine import Engine
from groundtune.generation.runner import SingleRunner
from groundtune.generation.shared_adapters import SharedAdapters, can_share

sys.path.insert(0, str(Path(__file__).parent))
from tiny import begin, greedy, llama, tokenizer

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "everywhere": {"r": 8, "lora_alpha": 4, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
    "stabilized": {"r": 4, "lora_alpha": 8, "target_modules": ["down_proj"], "use_rslora": True},
    "by layer": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 2}, "alpha_pattern": {"q_proj": 20}},
    "one layer": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "layers_to_transform": [1]},
}  # fmt: skip


def adapted(folder: Path, seed: int, **more: Any) -> Any:
    """An adapter with random weights, saved; the model that it is merged into."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **more))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + len(name))) * 0.3)  # fmt: skip
    model.save_pretrained(folder)
    merged = model.merge_and_unload().eval()
    merged.generation_config.eos_token_id = None
    return merged


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: (folder / name, adapted(folder / name, n, **kind)) for n, (name, kind) in enumerate(KINDS.items())}


@pytest.fixture(params=["slots", "one after the other"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = Engine(llama(), tokenizer(), sequences=16)
    if request.param != "slots":
        engine.runner = SingleRunner(engine.model)
    yield engine
    engine.close()


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_merged_weights(made: dict[str, tuple[Path, Any]], kind: str) -> None:
    folder, merged = made[kind]
    base, plain = llama(), llama()
    shared = SharedAdapters(base)
    assert can_share(folder)
    shared.add("a", folder)
    ids = torch.randint(0, 8000, (4, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shared.use(["a", None, "a", None])
        found = base(ids).logits
        assert (found[[0, 2]] - merged(ids[[0, 2]]).logits).abs().max() < 1e-4
        assert torch.equal(found[[1, 3]], plain(ids).logits[[1, 3]]) or (found[[1, 3]] - plain(ids[[1, 3]]).logits).abs().max() < 1e-5  # fmt: skip
        assert (found[[0, 2]] - plain(ids[[0, 2]]).logits).abs().max() > 0.1  # the adapter does something
        shared.use(["a"] * 4)
        assert (base(ids).logits - merged(ids).logits).abs().max() < 1e-4
        shared.remove("a")
        assert (base(ids).logits - plain(ids).logits).abs().max() < 1e-5


def test_base_and_adapters_at_the_same_time(engine: Engine, made: dict[str, tuple[Path, Any]]) -> None:
    """Every answer is the one that the merged model gives alone, whoever stands beside it."""
    for name, (folder, _) in made.items():
        engine.add_adapter(name, folder)
    models: list[tuple[str | None, Any]] = [(None, llama()), *((name, merged) for name, (_, merged) in made.items())]
    prompts = [[n, n + 1, n + 2, n + 3, n + 4] * 3 for n in range(100, 105)]
    asked = [(name, merged, prompt) for prompt in prompts for name, merged in models]
    answers = [begin(engine, prompt, 8, adapter=name) for name, _, prompt in asked]
    for (name, merged, prompt), answer in zip(asked, answers, strict=True):
        assert answer.wait().error is None and answer.writing
        assert answer.writing.written == greedy(merged, prompt, 8), name
    again = begin(engine, prompts[0], 8, adapter="plain").wait()  # from the cache of the same adapter, if from any
    assert again.writing and again.writing.written == greedy(made["plain"][1], prompts[0], 8)


def test_removed_while_others_write(engine: Engine, made: dict[str, tuple[Path, Any]]) -> None:
    engine.add_adapter("plain", made["plain"][0])
    engine.add_adapter("everywhere", made["everywhere"][0])
    prompt = [9, 8, 7] * 5
    begin(engine, prompt, 4, adapter="plain").wait()
    kept = begin(engine, prompt, 60, adapter="everywhere")
    engine.remove_adapter("plain")
    assert kept.wait().writing.written == greedy(made["everywhere"][1], prompt, 60)  # type: ignore[union-attr]
    engine.add_adapter("plain", made["stabilized"][0])  # another under the same name: nothing of the first is left
    found = begin(engine, prompt, 8, adapter="plain").wait()
    assert found.writing and found.writing.written == greedy(made["stabilized"][1], prompt, 8)


def test_an_adapter_of_another_model_is_refused(engine: Engine, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    other = get_peft_model(llama(hidden_size=64), LoraConfig(r=2, target_modules=["q_proj"]))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError):
        engine.add_adapter("other", tmp_path / "other")
    assert begin(engine, [1, 2, 3]).wait().finish == "length"


def test_what_is_no_sum_is_not_shared(tmp_path: Path) -> None:
    from peft import IA3Config, LoraConfig, get_peft_model

    for name, config in {
        "dora": LoraConfig(r=2, target_modules=["q_proj"], use_dora=True),
        "whole": LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]),
        "ia3": IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
    }.items():
        get_peft_model(llama(), config).save_pretrained(tmp_path / name)
        assert not can_share(tmp_path / name), name

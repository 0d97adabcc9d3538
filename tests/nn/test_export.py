"""Exports: each form loads as its users load it, says what it lost, and leaves nothing behind when it is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import ConfigError, GroundtuneError, InputError
from groundtune.nn import export as module
from groundtune.nn.checkpoints import open_model
from groundtune.nn.export import ExportError, Settings, Source, export
from groundtune.nn.quantize.files import quantization_of
from groundtune.nn.quantize.linear import quantized_layers
from llama_models import small_llama

IDS = torch.tensor([[5, 60, 70, 200, 33, 120, 399, 8]])
TEXT = "The reading rooms open at 9:30. A yearly card costs 48 crowns, and a kayak 17.\n" * 20
Maker = Callable[..., Any]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


@pytest.fixture(scope="module")
def adapter(make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the tiny model with random B."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(make_tiny_model(), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def source(tiny_model_path: Path, adapter: Path) -> Source:
    return Source(str(tiny_model_path), adapter, "tuned")


def test_merged_weights_load_in_plain_transformers(source: Source, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    figures = export(source, tmp_path / "out", Settings("merged", text=TEXT))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(source.base)
    before = logits(base)
    assert source.adapter is not None
    adapted = logits(PeftModel.from_pretrained(base, source.adapter))
    assert float((adapted - before).abs().max()) > 1e-2
    assert float((logits(loaded) - adapted).abs().max()) < 1e-5
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert figures["stored_as"] == "float32"
    assert figures["agreement"]["error"] < 1e-5
    assert figures["agreement"]["same_token"] == 1
    measured = figures["perplexity"]
    assert measured["after"] == pytest.approx(measured["before"], rel=1e-5)
    assert measured["window_tokens"] == 256  # the tiny model's context
    assert figures["bytes_before"] == sum(
        f.stat().st_size for p in (source.base, source.adapter) for f in Path(p).glob("*.safetensors")
    )
    assert figures["bytes_after"] == (tmp_path / "out" / "model.safetensors").stat().st_size
    kept = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert kept["agreement"] == figures["agreement"]
    assert kept["made_with"]["packages"]["torch"]


@pytest.mark.parametrize(("format", "bits", "least", "most"), [("int8", 8, 1e-4, 0.03), ("int4", 4, 0.02, 0.4)])
def test_quantized_folders_say_what_they_lost(
    format: str, bits: int, least: float, most: float, source: Source, tmp_path: Path
) -> None:
    figures = export(source, tmp_path / "out", Settings(format, text=TEXT, group_size=32 if bits == 4 else None))
    assert least < figures["agreement"]["error"] < most
    assert figures["quantized_layers"] == 14
    assert figures["bytes_after"] < 0.7 * figures["bytes_before"]
    assert figures["perplexity"]["before"] != figures["perplexity"]["after"]
    loaded, _ = open_model(str(tmp_path / "out"), torch.float32)
    assert {layer.scheme.bits for layer in quantized_layers(loaded).values()} == {bits}
    said = quantization_of(tmp_path / "out")
    assert said is not None
    assert (said["clip"], said["group_size"]) == ("mse", 32 if bits == 4 else None)
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["dtype"] == "float16"  # what is not quantized, of a source in float32


def test_the_adapter_alone_is_peft_files_as_they_were(source: Source, tmp_path: Path) -> None:
    figures = export(source, tmp_path / "out", Settings("adapter"))
    assert source.adapter is not None
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (source.adapter / name).read_bytes()
    assert (tmp_path / "out" / "chat_template.jinja").exists()
    assert figures["bytes_after"] < figures["bytes_before"] / 2
    assert figures["perplexity"] is None


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0"])
def test_gguf_is_one_file_that_agrees(kind: str, source: Source, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    figures = export(source, tmp_path / "out", Settings("gguf", gguf_type=kind, text=TEXT))
    assert figures["file"] == f"tuned-{kind}.gguf"
    assert {f.name for f in (tmp_path / "out").iterdir()} == {f"tuned-{kind}.gguf", "export.json"}
    assert figures["agreement"]["error"] < {"f16": 1e-3, "q8_0": 0.02, "q4_0": 0.3}[kind]
    assert figures["pre_tokenizer"] == "qwen2"
    assert figures["tokens_cut_otherwise"] < 0.05
    assert figures["perplexity"]["after"] > 0


#: takes the converter's arguments, looks whether the weights are there, and writes a file
CONVERTER = """import pathlib, sys
assert (pathlib.Path(sys.argv[1]) / "model.safetensors").exists()
pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1]).write_text(sys.argv[-1])
"""


def test_other_architectures_go_through_llama_cpps_script(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 0, "eos_token_id": 0}
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2, **ends)).save_pretrained(
        tmp_path / "base"
    )
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "convert.py").write_text(CONVERTER, encoding="utf-8")
    monkeypatch.setenv("CONVERT_HF_TO_GGUF", str(tmp_path / "convert.py"))
    figures = export(Source(str(tmp_path / "base"), name="gpt2"), tmp_path / "out", Settings("gguf", text=TEXT))
    assert figures["agreement"] is None
    assert figures["perplexity"]["after"] is None
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"gpt2-q8_0.gguf", "export.json"}
    assert (tmp_path / "out" / "gpt2-q8_0.gguf").read_text(encoding="utf-8") == "q8_0"
    monkeypatch.delenv("CONVERT_HF_TO_GGUF")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="gpt2 models cannot be written to GGUF"):
        export(Source(str(tmp_path / "base")), tmp_path / "other", Settings("gguf"))
    assert not list(tmp_path.glob("other*"))


def test_bf16_sources_stay_bf16(make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path) -> None:
    make_tiny_model().to(torch.bfloat16).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    for format in ("merged", "int8"):
        export(Source(str(tmp_path / "base")), tmp_path / format, Settings(format))
        config = json.loads((tmp_path / format / "config.json").read_text(encoding="utf-8"))
        assert config["dtype"] == "bfloat16"
    figures = export(Source(str(tmp_path / "base")), tmp_path / "wide", Settings("merged", dtype="float32"))
    assert figures["stored_as"] == "float32"
    assert figures["bytes_after"] > 1.8 * figures["bytes_before"]


# ------------------------------------------------------------ what is refused


def test_a_folder_that_is_not_empty_is_left_alone(source: Source, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there and is not empty"):
        export(source, tmp_path / "out", Settings("merged"))
    assert (tmp_path / "out" / "mine.txt").read_text(encoding="utf-8") == "mine"
    (tmp_path / "out" / "mine.txt").unlink()
    export(source, tmp_path / "out", Settings("merged"))
    assert not list(tmp_path.glob("*.part"))


def test_an_adapter_is_not_merged_into_quantized_weights(source: Source, tmp_path: Path) -> None:
    export(Source(source.base), tmp_path / "int4", Settings("int4"))
    with pytest.raises(InputError, match=r"quantized already, and an adapter merged into them would be rounded away"):
        export(Source(str(tmp_path / "int4"), source.adapter), tmp_path / "out", Settings("merged"))
    with pytest.raises(InputError, match="quantized already"):
        export(Source(str(tmp_path / "int4")), tmp_path / "out", Settings("int8"))


def test_weights_of_another_librarys_four_bits_are_refused_too(source: Source, tmp_path: Path) -> None:
    shutil.copytree(source.base, tmp_path / "base")
    file = tmp_path / "base" / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="quantized already"):
        export(Source(str(tmp_path / "base"), source.adapter), tmp_path / "out", Settings("merged"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings("onnx"), "format 'onnx'"),
        (Settings("adapter"), "has no adapter"),
        (Settings("int4", group_size=1), "group_size is 1"),
        (Settings("int8", head=True), "is tied"),
        (Settings("gguf", gguf_type="q2_k"), "gguf type 'q2_k'"),
    ],
)
def test_what_cannot_be_is_said(settings: Settings, said: str, tiny_model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        export(Source(str(tiny_model_path)), tmp_path / "out", settings)
    assert not list(tmp_path.iterdir())


def test_an_adapter_that_changes_nothing_is_refused(
    make_tiny_model: Maker, tiny_model_path: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    get_peft_model(make_tiny_model(), LoraConfig(target_modules="all-linear")).save_pretrained(tmp_path / "fresh")
    with pytest.raises(ExportError, match="it changes nothing"):
        export(Source(str(tiny_model_path), tmp_path / "fresh"), tmp_path / "out", Settings("merged"))


@pytest.mark.parametrize("fault", ["merge", "write", "template"])
def test_a_fault_on_the_way_is_seen_and_nothing_is_left(
    fault: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults of the kind that others shipped: a merge with the wrong scale, a layer lost, no template."""
    if fault == "merge":
        from groundtune.nn.adapters import apply

        real = apply.apply_adapter

        def twice(model: Any, folder: Path) -> Any:
            return real(real(model, folder), folder)

        monkeypatch.setattr(apply, "apply_adapter", twice)
    else:
        whole = module._write

        def faulty(*arguments: Any) -> Any:
            made, folder = whole(*arguments), arguments[3]
            if fault == "template":
                (folder / "chat_template.jinja").unlink()
            else:
                from safetensors.torch import load_file, save_file

                tensors = load_file(folder / "model.safetensors")
                tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].clone()
                save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            return made

        monkeypatch.setattr(module, "_write", faulty)
    with pytest.raises(GroundtuneError, match=r"standard deviations off|chat template"):
        export(source, tmp_path / "out", Settings("merged"))
    assert not list(tmp_path.iterdir())


def test_a_gguf_whose_attention_is_wrong_is_seen_and_nothing_is_left(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    small_llama("untied", tiny_tokenizer).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    export(Source(str(tmp_path / "base")), tmp_path / "right", Settings("gguf"))
    monkeypatch.setattr("groundtune.nn.gguf.writer.permuted", lambda weight, heads: weight)
    with pytest.raises(ExportError, match="standard deviations off"):
        export(Source(str(tmp_path / "base")), tmp_path / "wrong", Settings("gguf"))
    assert not list(tmp_path.glob("wrong*"))

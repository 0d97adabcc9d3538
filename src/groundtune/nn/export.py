"""A finished model in the form somebody else wants: merged weights, the adapter alone, int8, int4, GGUF.

Every form is written beside its folder, read again as its users read it, compared with the model it came from, and only
then put in its place: a folder that is there agrees with its source within its format's error, and ``export.json`` in it says
how far. Leaves out where a model comes from: a base and an adapter's folder, or no adapter, are all that is known here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from groundtune.errors import ConfigError, GroundtuneError, InputError
from groundtune.nn.agreement import Agreement, check_tokenizers, compare_logits, probe_logits
from groundtune.nn.checkpoints import model_path, open_model
from groundtune.nn.gguf import converter
from groundtune.nn.gguf.check import check_file, open_gguf
from groundtune.nn.gguf.writer import is_llama, write_gguf
from groundtune.nn.perplexity import Perplexity, perplexity
from groundtune.nn.quantize.files import quantization_of, refuse_merge, save_quantized
from groundtune.nn.quantize.linear import quantize
from groundtune.workspace import provenance, write_json

FORMATS = ("merged", "adapter", "int8", "int4", "gguf")
DTYPES = ("float32", "bfloat16", "float16")
#: largest :attr:`Agreement.error` against the source: about four times what pebble shows; weights mixed up give 1 or more
LIMITS = {
    "float32": 1e-3, "bfloat16": 0.05, "float16": 0.01, "adapter": 1e-3, "int8": 0.08, "int4": 0.8,
    "f32": 1e-3, "f16": 0.01, "q8_0": 0.08, "q4_0": 0.8,
}  # fmt: skip
#: the same against the model in memory that was written: nothing but the order of additions may differ
READ_BACK = 1e-3
#: tells how far an export is: (step, steps, what)
Report = Callable[[int, int, str], None]
_STEPS = ("open", "measure", "write", "read back", "measure again")


class ExportError(GroundtuneError):
    """What was written is not the model it was made from; nothing is left of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is exported.

    Attributes:
        base: folder or name of a model in 16 or 32 bits.
        adapter: folder of a LoRA adapter that belongs to it, or None.
        name: what files are called.
    """

    base: str
    adapter: Path | None = None
    name: str = "model"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to export.

    Attributes:
        format: one of ``FORMATS``.
        gguf_type: ``q8_0``, ``q4_0``, ``f16`` or ``f32``.
        dtype: one of ``DTYPES``, of merged weights and of what int8 and int4 leave as it is; default: the base's, but 16 bits
            beside integers.
        group_size, clip, head: of int8 and int4; see :func:`groundtune.nn.quantize.linear.quantize`.
        text: to measure perplexity on; nothing is measured without.
        window_tokens: the longest window; the model's context if that is less.
    """

    format: str
    gguf_type: str = "q8_0"
    dtype: str | None = None
    group_size: int | None = None
    clip: str = "mse"
    head: bool = False
    text: str = ""
    window_tokens: int = 1024


def export(source: Source, folder: Path, settings: Settings, *, report: Report = lambda *_: None) -> dict[str, Any]:
    """Write a model into a new or empty folder; the figures that ``export.json`` keeps.

    Runs on the CPU in float32, with the source and what was read back in memory at the same time.

    Raises:
        ConfigError: a format or setting that cannot be. InputError: the source cannot be read, or is quantized.
        ExportError: what was read back is not the source.
    """
    check_request(source, folder, settings)
    report(0, len(_STEPS), _STEPS[0])
    model, tokenizer = open_merged(source)
    wanted_NV = probe_logits(model, tokenizer)
    report(1, len(_STEPS), _STEPS[1])
    before = _measure(model, tokenizer, settings)
    report(2, len(_STEPS), _STEPS[2])
    with _whole(folder) as half:
        made = _write(source, model, tokenizer, half, settings)
        report(3, len(_STEPS), _STEPS[3])
        loaded = _read_back(source, model, tokenizer, half, settings)
        agreement = None
        if loaded is not None:
            agreement = _check(wanted_NV, probe_logits(loaded, tokenizer), LIMITS[made["stored_as"]], folder)
        report(4, len(_STEPS), _STEPS[4])
        after = _measure(loaded, tokenizer, settings) if loaded is not None else None
        figures = {
            "base": source.base,
            "adapter": str(source.adapter) if source.adapter else None,
            "format": settings.format,
            **made,
            "bytes_before": source_bytes(source),
            "bytes_after": weight_bytes(half),
            "agreement": asdict(agreement) if agreement else None,
            "limit": LIMITS[made["stored_as"]],
            "perplexity": _perplexities(before, after, model, settings),
        }
        write_json(half / "export.json", {**figures, "made_with": provenance()})
    report(len(_STEPS), len(_STEPS), "")
    return {"folder": str(folder), **figures}


def check_request(source: Source, folder: Path, settings: Settings) -> None:
    """See, before anything is opened, that it can be done.

    Raises:
        ConfigError: no such format, a folder that is not empty, an adapter asked for where there is none.
        InputError: the base is quantized.
    """
    if settings.format not in FORMATS:
        raise ConfigError(f"format {settings.format!r}", expected=f"one of {', '.join(FORMATS)}")
    if settings.dtype not in (None, *DTYPES):
        raise ConfigError(f"dtype {settings.dtype!r}", expected=f"one of {', '.join(DTYPES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is there and is not empty", expected="a new or empty folder", next_step="name another with --out"
        )
    if settings.format == "adapter" and source.adapter is None:
        raise ConfigError(
            f"{source.name} has no adapter: its weights are whole", next_step="--format merged, int8, int4 or gguf"
        )
    path = Path(model_path(source.base))
    if settings.format != "adapter" and quantization_of(path) is not None:
        raise InputError(
            f"{source.base}: its weights are quantized already"
            + (", and an adapter merged into them would be rounded away" if source.adapter else ""),
            expected="a base in 16 or 32 bits",
            next_step="name the model it was quantized from" + (", or --format adapter" if source.adapter else ""),
        )


def open_merged(source: Source) -> tuple[Any, Any]:
    """The source as one model in float32, in evaluation mode, and its tokenizer.

    A merge is compared with PEFT's model of the same base and adapter, and must change something.

    Raises:
        InputError: it cannot be read or merged. ExportError: the merged model is not base and adapter.
    """
    model, tokenizer = open_model(model_path(source.base), torch.float32)
    model.eval()
    if source.adapter is None:
        return model, tokenizer
    from peft import PeftModel

    from groundtune.nn.adapters.apply import apply_adapter, is_mergeable

    if not is_mergeable(source.adapter):
        raise InputError(
            f"{source.adapter}: an adapter of this kind stays beside the model, it cannot be merged",
            next_step="--format adapter",
        )
    refuse_merge(model, source.base, str(source.adapter))
    plain_NV = probe_logits(model, tokenizer)
    apply_adapter(model, source.adapter)
    merged_NV = probe_logits(model, tokenizer)
    if compare_logits(plain_NV, merged_NV).largest == 0:
        raise ExportError(
            f"{source.adapter}: merged into {source.base} it changes nothing", expected="an adapter that was trained"
        )
    other = PeftModel.from_pretrained(open_model(model_path(source.base), torch.float32)[0], source.adapter).eval()
    _check(probe_logits(other, tokenizer), merged_NV, READ_BACK, source.adapter)
    if (source.adapter / "tokenizer_config.json").exists():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source.adapter)  # the one it was trained with
    return model, tokenizer


def _write(source: Source, model: Any, tokenizer: Any, folder: Path, settings: Settings) -> dict[str, Any]:
    """Write the weights into a folder; the model is left as what is on disk. Returns what was stored, and how."""
    dtype = getattr(torch, settings.dtype) if settings.dtype else stored_dtype(source.base)
    if settings.format == "adapter":
        assert source.adapter is not None
        for file in sorted(source.adapter.iterdir()):
            if file.suffix in (".json", ".safetensors", ".jinja", ".txt", ".model", ".md"):
                shutil.copy2(file, folder / file.name)
        tokenizer.save_pretrained(folder)
        return {"stored_as": "adapter"}
    if settings.format == "merged":
        with _cast(model, dtype):
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {"stored_as": str(dtype).removeprefix("torch.")}
    if settings.format == "gguf":
        return _write_gguf(source, model, tokenizer, folder, settings)
    bits = int(settings.format.removeprefix("int"))
    names = quantize(model, bits, settings.group_size, clip=settings.clip, head=settings.head)
    with _cast(model, torch.float16 if dtype == torch.float32 and not settings.dtype else dtype):
        save_quantized(model, tokenizer, folder)
    return {"stored_as": settings.format, "quantized_layers": len(names)}


def _write_gguf(source: Source, model: Any, tokenizer: Any, folder: Path, settings: Settings) -> dict[str, Any]:
    path = folder / f"{source.name}-{settings.gguf_type}.gguf"
    made: dict[str, Any] = {"stored_as": settings.gguf_type, "file": path.name}
    if is_llama(model):
        texts = [settings.text] if settings.text else []
        words = write_gguf(model, tokenizer, path, settings.gguf_type, name=source.name, texts=texts)
        errors = check_file(path, model)
        return {
            **made,
            "largest_weight_error": max(errors.values()),
            "pre_tokenizer": words.pre,
            "tokens_cut_otherwise": words.differing,
        }
    merged = folder / "merged"
    model.save_pretrained(merged)
    tokenizer.save_pretrained(merged)
    converter.convert(merged, path, settings.gguf_type, architecture=model.config.model_type)
    shutil.rmtree(merged)
    return made


def _read_back(source: Source, model: Any, tokenizer: Any, folder: Path, settings: Settings) -> Any:
    """What somebody who has the folder loads; None where nothing here reads it."""
    if settings.format == "gguf":
        return open_gguf(next(folder.glob("*.gguf")), model.config) if is_llama(model) else None
    if settings.format == "adapter":
        loaded, found = open_merged(Source(source.base, folder, source.name))
    else:
        loaded, found = open_model(str(folder), torch.float32)
    loaded.eval()
    _check(probe_logits(model, tokenizer), probe_logits(loaded, tokenizer), READ_BACK, folder)
    check_tokenizers(tokenizer, found, str(folder))
    return loaded


def _check(wanted_NV: torch.Tensor, found_NV: torch.Tensor, limit: float, where: Path) -> Agreement:
    agreement = compare_logits(wanted_NV, found_NV)
    if not agreement.error <= limit:
        raise ExportError(
            f"{where}: the logits are {agreement.error:.2g} standard deviations off, more than the format explains",
            expected=f"at most {limit:g}",
            next_step="choose a finer format (int8, --group-size 32); if it is merged or gguf f16, please report this",
        )
    return agreement


def _measure(model: Any, tokenizer: Any, settings: Settings) -> Perplexity | None:
    if not settings.text:
        return None
    return perplexity(model, tokenizer, settings.text, window_tokens=_window(model, settings))


def _window(model: Any, settings: Settings) -> int:
    context = int(getattr(model.config, "max_position_embeddings", 0) or 2048)
    return min(settings.window_tokens, context)


def _perplexities(
    before: Perplexity | None, after: Perplexity | None, model: Any, settings: Settings
) -> dict[str, Any] | None:
    if before is None:
        return None
    return {
        "tokens": before.tokens,
        "window_tokens": _window(model, settings),
        "before": before.perplexity,
        "after": after.perplexity if after else None,
        "bits_per_byte_before": before.bits_per_byte,
        "bits_per_byte_after": after.bits_per_byte if after else None,
    }


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one, put in its place when it is whole, and removed when it is not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = folder.with_name(folder.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    try:
        yield half
        if folder.exists():
            folder.rmdir()
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


@contextmanager
def _cast(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """A model's parameters in another dtype, and back, rounded; its rotary frequencies are no parameters and stay.

    Raises:
        InputError: a weight is too large for float16.
    """
    for name, parameter in model.named_parameters():
        rounded = parameter.data.to(dtype)
        if not torch.isfinite(rounded).all():
            raise InputError(f"{name}: weights up to {float(parameter.abs().max()):g} do not fit {dtype}")
        parameter.data = rounded
    yield
    for parameter in model.parameters():
        parameter.data = parameter.data.float()


def stored_dtype(base: str) -> torch.dtype:
    """The dtype a model's files are in, as its config says; float32 where it says nothing."""
    from transformers import AutoConfig

    dtype = getattr(AutoConfig.from_pretrained(model_path(base)), "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def source_bytes(source: Source) -> int:
    """Bytes of the weights that are needed without an export: the base's, and the adapter's."""
    path = Path(model_path(source.base))
    if not path.is_dir():
        from transformers.utils.hub import cached_file

        path = Path(str(cached_file(source.base, "config.json"))).parent
    return weight_bytes(path) + (weight_bytes(source.adapter) if source.adapter else 0)


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files of a folder."""
    return sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".safetensors", ".gguf"))

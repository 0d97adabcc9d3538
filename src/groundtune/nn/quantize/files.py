"""A quantized model's folder: safetensors with ``qweight`` and ``scales``, and how transformers reads it again.

``config.json`` carries ``quantization_config`` with ``quant_method: groundtune``, ``bits``, ``group_size`` and
``modules_to_not_convert``, under the names GPTQ, AWQ and bitsandbytes use. The folder is read through transformers' own hook for
quantizers, so that sharding, dtypes and tied weights are its business; :func:`register` must have run. Without groundtune
transformers does not know the method, warns, and makes up the missing weights: hand out ``merged`` folders to others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from groundtune.errors import ConfigError, InputError
from groundtune.nn.quantize.linear import QuantizedLinear, is_plain, quantized_layers, weight_of
from groundtune.nn.quantize.weights import Scheme, as_config

METHOD = "groundtune"


class QuantizationConfig(QuantizationConfigMixin):
    """``quantization_config`` of ``config.json``.

    Args:
        bits, group_size, clip: as :class:`Scheme`'s.
        modules_to_not_convert: linear layers that stayed as they were.
    """

    def __init__(
        self,
        bits: int = 0,
        group_size: int | None = None,
        clip: str = "max",
        sym: bool = True,
        modules_to_not_convert: list[str] | None = None,
        quant_method: Any = METHOD,
    ) -> None:
        self.quant_method = quant_method
        self.bits, self.group_size, self.clip, self.sym = bits, group_size, clip, sym
        self.modules_to_not_convert = modules_to_not_convert or []

    @property
    def scheme(self) -> Scheme:
        """What the weights are quantized to."""
        return Scheme(self.bits, self.group_size, self.clip)


class Quantizer(HfQuantizer):
    """Puts :class:`QuantizedLinear` layers into a model's skeleton before its weights are read."""

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        config: Any = self.quantization_config
        for name, layer in list(model.named_modules()):
            if is_plain(layer) and name not in config.modules_to_not_convert:
                if f"{name}.weight" in model.all_tied_weights_keys:
                    raise ValueError(f"modules_to_not_convert of its quantization_config lacks {name}, which is tied")
                outputs, inputs = weight_of(layer).shape
                device = layer.weight.device
                new = QuantizedLinear(inputs, outputs, config.scheme, layer.bias, device)
                new.weight = _initialized()  # some architectures look for it when they fill what the files do not hold
                model.set_submodule(name, new)

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        for layer in quantized_layers(model).values():
            del layer.weight
        return model

    def get_new_dtype(self, converter: Any, param: Any, dtype: torch.dtype | None) -> torch.dtype | None:
        """Integers and float16 scales stay what they are; everything else takes the dtype asked for."""
        stored = {"qweight", "scales"}
        if any(str(target).rpartition(".")[2] in stored for target in converter.target_patterns):
            return None
        return super().get_new_dtype(converter, param, dtype)

    def is_serializable(self) -> bool:
        """A loaded model can be saved again."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Integers have no gradient."""
        return False


def _initialized() -> torch.Tensor:
    """A tensor that transformers takes for one whose values have been read."""
    tensor = torch.empty(0)
    tensor._is_hf_initialized = True  # type: ignore[attr-defined]
    return tensor


def register() -> None:
    """Teach transformers to read these folders; once is enough."""
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(METHOD)(QuantizationConfig)
        register_quantizer(METHOD)(Quantizer)


def save_quantized(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a quantized model, its tokenizer and its chat template; read again by :func:`groundtune.nn.checkpoints.open_model`.

    What is not quantized is written in the dtype it has: cast the model before (``model.to(torch.bfloat16)``; the
    quantized layers do not mind).

    Raises:
        ConfigError: no layer is quantized, or not all in the same way.
    """
    schemes = {layer.scheme for layer in quantized_layers(model).values()}
    if len(schemes) != 1:
        raise ConfigError(
            f"{folder}: cannot be written: the model has {len(schemes)} kinds of quantized layers",
            expected="one kind",
            next_step="call quantize(model, bits) once, on the whole model",
        )
    kept = [name for name, layer in model.named_modules() if is_plain(layer)]
    register()
    model.config.quantization_config = QuantizationConfig(**as_config(schemes.pop()), modules_to_not_convert=kept)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def refuse_merge(model: Any, base: str, adapter: str) -> None:
    """See that the weights an adapter is merged into are real numbers; rounding them again would undo what it learnt.

    Raises:
        InputError: the model is quantized, by us or by another library.
    """
    if getattr(model.config, "quantization_config", None) is not None:
        raise InputError(
            f"{adapter}: cannot be merged into {base}, whose weights are quantized",
            expected="a base in 16 or 32 bits",
            next_step="merge into the model that was quantized: groundtune export --format merged, then --format int8",
        )


def quantization_of(folder: Path) -> dict[str, Any] | None:
    """The ``quantization_config`` of a model's folder, ours or another's; None where its weights are not quantized."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = config.get("quantization_config") if isinstance(config, dict) else None
    return found if isinstance(found, dict) else None

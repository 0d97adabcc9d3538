"""A few logits kept beside saved weights, so that whoever loads them sees whether they are the model that was trained.

An adapter that was not loaded, a merge that did nothing, weights of another run: none of them raises an error by itself, and
all of them write other logits. Compared are the largest logits at the last positions of a few short texts, and the logarithm of
the sum of all exponentials, in which every other logit has its part.

Legend: R rows, P positions of all rows, V vocabulary, K logits kept at a position.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundtune.errors import InputError

FILE = "probe.safetensors"
#: what a model is asked; plain text, so that it needs no chat template and changes with none
TEXTS = (
    "Question: When does the office open? Answer:",
    "The total is 1,482.50, to be paid by 9 August 2031.",
    '{"name": "Ann", "items": [1, 2, 3]}',
)
POSITIONS, KEPT = 8, 64
#: largest difference that is rounding, in standard deviations of the logits: 32-bit weights, 16-bit weights
TOLERANCE, TOLERANCE_16 = 1e-3, 1e-1


def probe_logits(model: Any, tokenizer: Any, texts: Sequence[str] | Sequence[Sequence[int]] = TEXTS) -> Any:
    """Logits (P, V), float32 on the CPU, of the last 8 positions of each text; each text alone, without padding.

    Of a classifier (R, labels). A model with virtual tokens answers for the text's own positions.

    Args:
        model: a transformers model, or PEFT's around one; its mode of training or evaluation is kept.
        tokenizer: of that model; not looked at for token ids.
        texts: texts, or their token ids.
    """
    import torch

    rows = [tokenizer(t)["input_ids"] if isinstance(t, str) else list(t) for t in texts]
    was_training = model.training
    model.eval()
    found = []
    try:
        with torch.inference_mode():
            for ids in rows:
                logits = model(input_ids=torch.tensor([ids], device=model.device), **_places(model, len(ids))).logits
                logits = logits.float().cpu()
                found.append(logits if logits.dim() == 2 else logits[0, -min(len(ids), POSITIONS) :])
    finally:
        model.train(was_training)
    return torch.cat(found)


def _places(model: Any, tokens: int) -> dict[str, Any]:
    """What a model that was trained on packed rows must be told of one row."""
    import torch

    from groundtune.nn.packed_attention import NAME

    if getattr(model.config, "_attn_implementation", None) != NAME:
        return {}
    return {"cu_seq_lens_q": torch.tensor([0, tokens], dtype=torch.int32), "use_cache": False}


def save_probe(
    folder: Path,
    model: Any,
    tokenizer: Any,
    *,
    texts: Sequence[str] | Sequence[Sequence[int]] = TEXTS,
    before_PV: Any = None,
) -> float | None:
    """Write ``probe.safetensors`` beside a model's or an adapter's weights: under 40 kB with the texts that are the default.

    Args:
        before_PV: what :func:`probe_logits` gave for the same texts before training.

    Returns:
        The largest difference of a logit to ``before_PV``, in standard deviations; 0: training or merging changed nothing.
        None without ``before_PV``.
    """
    import torch
    from safetensors.torch import save_file

    rows = [tokenizer(t)["input_ids"] if isinstance(t, str) else list(t) for t in texts]
    logits_PV = probe_logits(model, tokenizer, rows)
    values_PK, places_PK = logits_PV.topk(min(KEPT, logits_PV.shape[1]), dim=1)
    spread = logits_PV.std()
    moved = None if before_PV is None else float((logits_PV - before_PV).abs().max() / spread)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "values": values_PK.contiguous(),
        "places": places_PK.to(torch.int32),
        "log_sum_exp": logits_PV.logsumexp(1),
        "spread": spread.reshape(1),
    }
    asked = {"rows": rows, "vocabulary": logits_PV.shape[1], "moved": moved}
    save_file(tensors, folder / FILE, metadata={"probe": json.dumps(asked)})  # several keys are written in any order
    return moved


def check_probe(model: Any, folder: Path, tolerance: float | None = None) -> float:
    """Ask a model what was asked when the folder's weights were saved.

    Args:
        model: the model with these weights: adapted, merged, or loaded again.
        folder: with ``probe.safetensors``.
        tolerance: largest difference allowed, in standard deviations of the saved logits; None: 1e-3, and 0.1 of a model
            with weights of fewer than 32 bits. Training that moved the logits by less cannot be seen.

    Returns:
        The largest difference, in standard deviations.

    Raises:
        InputError: no probe there, one of another vocabulary, or a larger difference.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    file = folder / FILE
    try:
        with safe_open(file, framework="pt") as opened:
            saved = {name: opened.get_tensor(name) for name in ("values", "places", "log_sum_exp", "spread")}
            asked = json.loads((opened.metadata() or {})["probe"])
        rows, vocabulary = asked["rows"], int(asked["vocabulary"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"{file}: no probe: {error}", expected="the file that was written beside the weights"
        ) from None
    logits_PV = probe_logits(model, None, rows)
    if logits_PV.shape != (len(saved["values"]), vocabulary):
        raise InputError(
            f"{file}: asked for {len(saved['values'])} x {vocabulary} logits, this model gives {tuple(logits_PV.shape)}",
            expected="the model whose weights stand beside it",
        )
    off = torch.stack(
        [
            (logits_PV.gather(1, saved["places"].long()) - saved["values"]).abs().max(),
            (logits_PV.logsumexp(1) - saved["log_sum_exp"]).abs().max(),
        ]
    )
    difference = float(off.max() / saved["spread"])
    rounded = any(p.dtype != torch.float32 for p in model.parameters())
    limit = tolerance if tolerance is not None else (TOLERANCE_16 if rounded else TOLERANCE)
    if not difference <= limit:
        raise InputError(
            f"{folder}: the loaded model is not the one that was saved: its logits are off by {difference:.2g} standard deviations",
            expected=f"at most {limit:g}",
            next_step="see that base model and adapter belong together and that nothing was written half; else train again",
        )
    return difference

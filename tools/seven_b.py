"""LoRA in 16 bits against QLoRA in 4 on a random 7B Llama: peak memory and seconds a step, beside the published figures.

Memory and time do not depend on the values of the weights, so they are random. One method a process:

    python tools/seven_b.py make /scratch/7b                  # llama2-7b, random weights in bf16, 13.5 GB
    python tools/seven_b.py run /scratch/7b --method lora     # prints one JSON line
    python tools/seven_b.py run /scratch/7b --method qlora --micro-batch 2

Published for one A100 (micro-batch not stated): LoRA 21.33 GB and 1.85 h, QLoRA 14.18 GB and 2.79 h. A smoke test without a GPU:
`run FOLDER_OF_A_SMALL_MODEL --steps 2`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

PUBLISHED = {"lora": {"gigabytes": 21.33, "hours": 1.85}, "qlora": {"gigabytes": 14.18, "hours": 2.79}}


def make(folder: Path, shape: str) -> None:
    """Write a random model of a named shape in bf16, as published checkpoints are."""
    import torch
    from transformers import AutoModelForCausalLM

    from groundtune.nn.shapes import named_shape, shape_config

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shape_config(named_shape(shape)), dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="4GB")
    print(json.dumps({"folder": str(folder), "parameters": sum(p.numel() for p in model.parameters())}))


def run(folder: Path, method: str, *, steps: int, micro_batch: int, tokens: int, rank: int) -> dict[str, Any]:
    """Train so many steps on random rows with a quarter of their tokens supervised; the first two steps are not timed."""
    import torch

    from groundtune.dataset.render import TokenRow
    from groundtune.training.data import RowBatches
    from groundtune.training.trainer import TrainSettings, train

    module = importlib.import_module(f"groundtune.methods.{method}")
    gpu = torch.cuda.is_available()
    torch.manual_seed(0)
    model = open_base(folder, method, torch.bfloat16 if gpu else torch.float32)
    model = module.attach(model, module.Options(rank=rank, alpha=2 * rank), base=str(folder))
    rng = random.Random(0)
    vocabulary = model.config.vocab_size
    tokens = min(tokens, model.config.max_position_embeddings)
    rows = [
        TokenRow(
            tuple(rng.randrange(5, vocabulary) for _ in range(tokens)),
            tuple(n >= tokens * 3 // 4 for n in range(tokens)),
        )
        for _ in range(steps * micro_batch)
    ]
    batches = RowBatches(rows, batch_tokens=tokens * micro_batch, epochs=1, seed=0)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    at: list[float] = []

    def tick(step: int, total: int, status: Any) -> None:
        if gpu:
            torch.cuda.synchronize()
        at.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as checkpoints:
        train(model, batches, TrainSettings(learning_rate=1e-4), Path(checkpoints), progress=tick)
    timed = at[min(1, len(at) - 2) :]
    return {
        "method": method,
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "parameters": sum(p.numel() for p in model.parameters()),
        "micro_batch": micro_batch,
        "tokens": tokens,
        "seconds_per_step": round((timed[-1] - timed[0]) / max(1, len(timed) - 1), 4),
        "peak_gigabytes": round(torch.cuda.max_memory_allocated() / 1e9, 2) if gpu else None,
        "reserved_gigabytes": round(torch.cuda.max_memory_reserved() / 1e9, 2) if gpu else None,
        "published": PUBLISHED[method],
    }


def open_base(folder: Path, method: str, dtype: Any) -> Any:
    """The base as the method holds it while training: 16 bits, or 4."""
    import torch
    from transformers import AutoModelForCausalLM

    if method == "qlora":
        from peft import prepare_model_for_kbit_training
        from transformers import BitsAndBytesConfig

        four_bit = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=four_bit)
        return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.to("cuda") if torch.cuda.is_available() else model


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--shape", default="llama2-7b")
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--method", choices=("lora", "qlora"), default="lora")
    running.add_argument("--steps", type=int, default=12)
    running.add_argument("--micro-batch", type=int, default=1)
    running.add_argument("--tokens", type=int, default=1024)
    running.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.shape)
        return
    result = run(
        options.folder,
        options.method,
        steps=options.steps,
        micro_batch=options.micro_batch,
        tokens=options.tokens,
        rank=options.rank,
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()

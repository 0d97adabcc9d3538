"""Planned against real: trains a few real steps of each configuration in a process of its own, and compares.

    python tools/plan_check.py pebble-24m:full:8x128 gpt2:lora:4x256:64 --steps 4
    python tools/plan_check.py path/to/model:ia3:8x128 --no-time

A configuration is MODEL:METHOD:ROWSxTOKENS[:SUPERVISED][:checkpointing]; MODEL is a shape's name or a folder (weights of shapes are random: neither
memory nor time depends on their values). Real: ``groundtune.training.trainer.train``, peak resident memory from the kernel,
seconds a step without the first. Planned: ``groundtune.plan``, measured on this machine just before.
Times say something on an idle machine only. Targets: memory within 15 %, time within 30 %. Exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MEMORY_WITHIN, TIME_WITHIN = 0.15, 0.30


@dataclass(frozen=True)
class Case:
    """A configuration of the command line."""

    model: str
    method: str
    rows: int
    tokens: int
    supervised: int
    checkpointing: bool = False

    @property
    def name(self) -> str:
        """As given, in full."""
        more = ":checkpointing" if self.checkpointing else ""
        return f"{self.model}:{self.method}:{self.rows}x{self.tokens}:{self.supervised}{more}"


def parse(text: str) -> Case:
    """A configuration from MODEL:METHOD:ROWSxTOKENS[:SUPERVISED][:checkpointing]."""
    parts = text.split(":")
    checkpointing = parts[-1] == "checkpointing"
    model, method, size, *rest = parts[:-1] if checkpointing else parts
    rows, tokens = map(int, size.split("x"))
    supervised = int(rest[0]) if rest else rows * (tokens - 1) // 4
    if method == "pretraining" and not rest:
        supervised = rows * (tokens - 1)
    return Case(model, method, rows, tokens, supervised, checkpointing)


def config_of(model: str) -> Any:
    """The transformers config of a shape or a folder."""
    from groundtune.nn.shapes import SHAPES, shape_config

    if model in SHAPES:
        return shape_config(SHAPES[model])
    from transformers import AutoConfig

    from groundtune.nn.checkpoints import model_path

    return AutoConfig.from_pretrained(model_path(model))


# ---------------------------------------------------------------- the real run, in a process of its own


def status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def real_model(case: Case) -> Any:
    """The model with random weights and its method attached."""
    import torch
    from transformers import AutoModelForCausalLM

    from groundtune.nn.shapes import SHAPES
    from groundtune.plan.attach import attach

    torch.manual_seed(0)
    if case.model in SHAPES:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config_of(case.model), dtype=torch.float32)
        model.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.02) if parameter.dim() > 1 else parameter.fill_(1)
            for buffer in model.buffers():
                buffer.fill_(0.01)
        model.tie_weights()
    else:
        from groundtune.nn.checkpoints import model_path, open_model

        model, _ = open_model(model_path(case.model), torch.float32)
    if case.method == "qlora":
        from groundtune.plan.timed import to_4_bits

        to_4_bits(model)
    return attach(model, case.method)


def real_batches(case: Case, vocabulary: int, steps: int) -> Any:
    """The same micro-batch size at every step, other tokens each."""
    import torch

    class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
            if step >= steps:
                raise IndexError(step)
            generator = torch.Generator().manual_seed(step)
            ids_BT = torch.randint(0, vocabulary, (case.rows, case.tokens), generator=generator)
            labels_BT = torch.full_like(ids_BT, -100)
            per_row, more = divmod(case.supervised, case.rows)
            for row in range(case.rows):
                count = per_row + (row < more)
                labels_BT[row, case.tokens - count :] = ids_BT[row, case.tokens - count :]
            return {"input_ids": ids_BT, "labels": labels_BT}

    return Batches()


def worker(case: Case, steps: int) -> dict[str, Any]:
    """Train, and say what it took."""
    from groundtune.training.trainer import TrainSettings, train

    model = real_model(case)
    batches = real_batches(case, model.config.get_text_config().vocab_size, steps)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            model,
            batches,
            TrainSettings(warmup_steps=1, gradient_checkpointing=case.checkpointing),
            Path(folder),
            progress=lambda *_: times.append(time.perf_counter()),
        )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    gaps = sorted(b - a for a, b in itertools.pairwise(times))
    return {
        "before_bytes": before,
        "peak_bytes": status("VmHWM"),
        "trainable_parameters": trained,
        "step_seconds": gaps[len(gaps) // 2] if gaps else None,
    }


def run_real(case: Case, steps: int) -> dict[str, Any]:
    """The worker's answer."""
    request = json.dumps({"case": asdict(case), "steps": steps})
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, __file__, "--worker", request], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"{case.name}: the run failed\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# ---------------------------------------------------------------- the plan


def run_of(case: Case) -> Any:
    """The configuration as the planner takes it."""
    from groundtune.plan.machine import this_device
    from groundtune.plan.memory import Run

    return Run(
        config_of(case.model),
        case.method,
        case.rows,
        case.tokens,
        case.supervised,
        checkpointing=case.checkpointing,
        device=this_device(),
    )


def compare(case: Case, steps: int, *, timed: bool) -> dict[str, Any]:
    """Planned and real figures of one configuration."""
    from groundtune.plan.measure import measure
    from groundtune.plan.memory import peak_memory

    run = run_of(case)
    memory = peak_memory(run)
    planned = {"peak_bytes": memory.step_bytes, "trainable_parameters": memory.trainable_parameters}
    if timed:
        speed = measure(run)
        planned["step_seconds"] = speed.micro_batch_seconds(checkpointing=case.checkpointing) + speed.optimizer
        planned["measured_on"] = speed.measured_on
    real = run_real(case, steps)
    ratios = {"memory": planned["peak_bytes"] / real["peak_bytes"] - 1}
    if timed and real["step_seconds"]:
        ratios["time"] = planned["step_seconds"] / real["step_seconds"] - 1
    return {"case": case.name, "planned": planned, "parts": memory.parts, "real": real, "off": ratios}


def line(row: dict[str, Any]) -> str:
    """A comparison for people."""
    planned, real, off = row["planned"], row["real"], row["off"]
    text = f"{row['case']:<44} memory {planned['peak_bytes'] / 1e6:>7,.0f} MB planned {real['peak_bytes'] / 1e6:>7,.0f} real {off['memory']:+.0%}"
    if "time" in off:
        text += f"   step {planned['step_seconds']:.3f} s planned {real['step_seconds']:.3f} real {off['time']:+.0%}"
    same = planned["trainable_parameters"] == real["trainable_parameters"]
    return text + ("" if same else f"   trained weights {planned['trainable_parameters']:,} != {real['trainable_parameters']:,}")  # fmt: skip


def main() -> int:
    """Compare every configuration of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="MODEL:METHOD:ROWSxTOKENS[:SUPERVISED][:checkpointing]")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--no-time", action="store_true", help="memory alone: the machine is busy")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        request = json.loads(given.worker)
        print(json.dumps(worker(Case(**request["case"]), request["steps"])))
        return 0
    missed = 0
    for case in map(parse, given.cases):
        row = compare(case, given.steps, timed=not given.no_time)
        missed += abs(row["off"]["memory"]) > MEMORY_WITHIN or abs(row["off"].get("time", 0)) > TIME_WITHIN
        missed += row["planned"]["trainable_parameters"] != row["real"]["trainable_parameters"]
        print(json.dumps(row) if given.json else line(row), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

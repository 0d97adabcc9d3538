"""One contestant of ``groundtune bench tune`` in a process of its own: trains a model on given rows, says what it took.

Run as ``python -P _contestants.py JOB.json RESULT.json``. Every contestant starts from the same weights on disk and reads
the same token rows from a file, in the order in which they are trained on; optimizer, schedule, clipping and seed are the
same. What is left to each is how it gets from rows to a step. Imports nothing of groundtune but for ours, so that the
Python of another environment can run it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Rows = list[dict[str, list[int]]]
#: the trained model, the loss of every step, and how a step was done
Outcome = tuple[Any, list[float], dict[str, Any]]
IGNORED = -100


class Meter:
    """CPU seconds of the process and wall seconds at the end of every optimizer step, and its memory.

    The clock is read at the start, after each step and at the end; what is reported is left to the reader.
    """

    def __init__(self) -> None:
        self.clock: list[tuple[float, float]] = []
        self.before_bytes = 0

    def start(self) -> None:
        """Take the memory before training, forget the peak so far, and start the clock."""
        self.before_bytes = _memory("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM counts from here
        except OSError:
            self.before_bytes = max(self.before_bytes, 0)  # not Linux: the peak is that of the whole process
        self.step()

    def step(self) -> None:
        """Read the clock."""
        self.clock.append((time.process_time(), time.perf_counter()))

    def figures(self) -> dict[str, Any]:
        """What was read."""
        return {
            "clock": self.clock,
            "memory_before_bytes": self.before_bytes,
            "peak_memory_bytes": _memory("VmHWM"),
        }


def _memory(field: str) -> int:
    """Memory of this process in bytes: VmRSS now, VmHWM the most since the last reset."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def read_rows(path: str) -> Rows:
    """Rows of a JSONL file: ``input_ids`` and ``labels`` of the same length, -100 where nothing is trained on."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def load(job: Job) -> tuple[Any, Any]:
    """The job's model in float32 and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(job["seed"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(job["model"])


# ---------------------------------------------------------------- contestants


def ours(job: Job, rows: Rows, meter: Meter) -> Outcome:
    """groundtune's training path: the rows of a step packed, attention within each, the loss on trained tokens alone."""
    from groundtune.dataset.render import TokenRow
    from groundtune.training.packing import prepare
    from groundtune.training.steps import StepPacks
    from groundtune.training.trainer import TrainSettings, train

    model, _ = load(job)
    made = [TokenRow(tuple(r["input_ids"]), tuple(label != IGNORED for label in r["labels"])) for r in rows]
    batches = StepPacks(made, rows_per_step=job["rows_per_step"], pack_tokens=job["pack_tokens"])
    settings = TrainSettings(
        learning_rate=job["learning_rate"],
        warmup_steps=job["warmup_steps"],
        weight_decay=job["weight_decay"],
        max_grad_norm=job["max_grad_norm"],
        betas=(job["betas"][0], job["betas"][1]),
        accumulation=batches.packs_per_step,
        seed=job["seed"],
    )
    folder = Path(job["folder"]) / "checkpoints"
    meter.start()
    prepare(model, made[: job["rows_per_step"]])
    result = train(model, batches, settings, folder, progress=lambda *_: meter.step())
    meter.step()
    options = {"pack_tokens": job["pack_tokens"], "packs_per_step": batches.packs_per_step, "format": result.precision}
    return model, [loss for _, loss in result.losses], options


def trl_defaults(job: Job, rows: Rows, meter: Meter) -> Outcome:
    """TRL's SFTTrainer as it comes: whatever has a default keeps it (bf16, gradient checkpointing, padding)."""
    trl = import_module("trl")
    return _train_trl(job, rows, meter, trl.SFTTrainer, trl.SFTConfig(**_common(job)))


#: what makes SFTTrainer faster and leaves the loss as it is; of 8, 4, 2 and 1 rows at a time, with padding and without,
#: 2 without were fastest (4 with a loss of one's own)
_TRL_FAST: dict[str, Any] = {
    "bf16": False,
    "gradient_checkpointing": False,
    "padding_free": True,
    "max_length": None,
    "dataset_kwargs": {"skip_prepare_dataset": True},
}


def trl_tuned(job: Job, rows: Rows, meter: Meter) -> Outcome:
    """TRL's SFTTrainer with every option set by hand that makes it faster and leaves the loss as it is."""
    trl = import_module("trl")
    return _train_trl(job, rows, meter, trl.SFTTrainer, trl.SFTConfig(**_common(job, at_a_time=2), **_TRL_FAST))


def trl_subclass(job: Job, rows: Rows, meter: Meter) -> Outcome:
    """The same with a loss written by hand: logits for trained tokens alone (TRL's own head scores every position on a CPU)."""
    trl = import_module("trl")
    base: Any = trl.SFTTrainer

    class Subclass(base):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            return _compact_loss(model, inputs, num_items_in_batch)

    return _train_trl(job, rows, meter, Subclass, trl.SFTConfig(**_common(job, at_a_time=4), **_TRL_FAST))


def transformers(job: Job, rows: Rows, meter: Meter) -> Outcome:
    """The plain Trainer of transformers with the model's own loss, float32, batches padded to their longest row."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    def build(**parts: Any) -> Any:
        return Trainer(**parts, data_collator=DataCollatorForSeq2Seq(parts["processing_class"]))

    return _train(job, rows, meter, build, TrainingArguments(**_common(job)))


def unsloth(job: Job, rows: Rows, meter: Meter) -> Outcome:
    """Unsloth's FastLanguageModel, every weight trained, in the SFTTrainer of its own environment."""
    import torch

    unsloth = import_module("unsloth")  # patches what is imported after it
    trl = import_module("trl")
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        model_name=job["model"],
        max_seq_length=job["context_tokens"],
        dtype=torch.float32,
        load_in_4bit=False,
        full_finetuning=True,
    )
    settings = trl.SFTConfig(**_common(job), bf16=False, dataset_kwargs={"skip_prepare_dataset": True})
    return _train_trl(job, rows, meter, trl.SFTTrainer, settings, (model, tokenizer))


#: the options that make the difference, as the results name them
_TOLD = ("bf16", "gradient_checkpointing", "padding_free", "per_device_train_batch_size", "gradient_accumulation_steps")


def _common(job: Job, at_a_time: int = 0) -> dict[str, Any]:
    """What is the same for all: optimizer, schedule, the order of the rows, no checkpoints.

    Args:
        at_a_time: rows that go through the model together, if they divide those of a step; 0: all of a step.
    """
    import torch

    at_once = at_a_time if at_a_time and job["rows_per_step"] % at_a_time == 0 else job["rows_per_step"]
    return {
        "use_cpu": not torch.cuda.is_available(),  # without it, TRL's defaults end in an error where there is no GPU
        "output_dir": str(Path(job["folder"]) / "trainer"),
        "num_train_epochs": 1,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": job["rows_per_step"] // at_once,
        "train_sampling_strategy": "sequential",
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": job["warmup_steps"],
        "weight_decay": job["weight_decay"],
        "adam_beta1": job["betas"][0],
        "adam_beta2": job["betas"][1],
        "max_grad_norm": job["max_grad_norm"],
        "seed": job["seed"],
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
    }


def _train_trl(job: Job, rows: Rows, meter: Meter, *parts: Any) -> Outcome:
    return _train(job, import_module("datasets").Dataset.from_list(rows), meter, *parts)


def _train(
    job: Job,
    dataset: Any,
    meter: Meter,
    build: Callable[..., Any],
    settings: Any,
    loaded: tuple[Any, Any] | None = None,
) -> Outcome:
    """Train with a Trainer of transformers or a child of it."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.step()

    model, tokenizer = loaded or load(job)
    parts = {"model": model, "args": settings, "train_dataset": dataset, "processing_class": tokenizer}
    trainer = build(**parts, callbacks=[Watch()])
    for noisy in [c for c in trainer.callback_handler.callbacks if type(c).__name__ == "PrinterCallback"]:
        trainer.remove_callback(noisy)
    meter.start()
    trainer.train()
    meter.step()
    options = {name: getattr(settings, name) for name in _TOLD if hasattr(settings, name)}
    return model, [float(row["loss"]) for row in trainer.state.log_history if "loss" in row], options


def _compact_loss(model: Any, inputs: Any, tokens_in_step: Any) -> Any:
    """Cross-entropy of trained tokens, with logits (transformers' ``logits_to_keep``) for those alone."""
    import torch

    labels_BT = inputs.pop("labels")
    keep_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
    keep_BT[:, :-1] = labels_BT[:, 1:] != IGNORED
    logits = model(**inputs, use_cache=False, logits_to_keep=keep_BT).logits
    targets_N = labels_BT[:, 1:][keep_BT[:, :-1]]
    total = torch.nn.functional.cross_entropy(logits.flatten(0, -2).float(), targets_N, reduction="sum")
    return total / (targets_N.numel() if tokens_in_step is None else tokens_in_step)


CONTESTANTS: dict[str, Callable[[Job, Rows, Meter], Outcome]] = {
    "ours": ours,
    "trl_defaults": trl_defaults,
    "trl_tuned": trl_tuned,
    "trl_subclass": trl_subclass,
    "transformers": transformers,
    "unsloth": unsloth,
}


# ---------------------------------------------------------------- what is left when they are done


def held_out_losses(job: Job) -> dict[str, float]:
    """Mean cross-entropy of the trained tokens of held-out rows, by the model's own forward, one row at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    rows, found = read_rows(job["rows"]), {}
    for name, folder in job["weights"].items():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        total, tokens = 0.0, 0
        for row in rows:
            with torch.no_grad():
                logits_TV = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
            targets_T = torch.tensor(row["labels"])[1:]
            total += float(torch.nn.functional.cross_entropy(logits_TV, targets_T, reduction="sum"))
            tokens += int((targets_T != IGNORED).sum())
        found[name] = total / tokens
    return found


def main(job_file: str, result_file: str) -> None:
    """Do what the job file says and write the result."""
    job: Job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    import torch

    torch.set_num_threads(job["threads"])
    if job["contestant"] == "held_out":
        result: dict[str, Any] = {"held_out_losses": held_out_losses(job)}
    else:
        from importlib import metadata

        meter = Meter()
        model, losses, options = CONTESTANTS[job["contestant"]](job, read_rows(job["rows"]), meter)
        result = {**meter.figures(), "losses": losses, "options": options}
        used = [name for name in ("torch", "transformers", "trl", "unsloth") if name in sys.modules]
        result["versions"] = {name: metadata.version(name) for name in used}
        if job["keep_weights"]:
            model.save_pretrained(Path(job["folder"]) / "weights")
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

"""What is measured on a finished classifier, and how it is told: epochs, test, the majority class, the reload check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.methods._finished import check_read_back

#: largest difference between the trained and the reloaded classifier's logits
RELOAD_TOLERANCE = 1e-3
#: below this, right answers over the majority class's are not chance
SIGNIFICANCE = 0.05


def finished(
    model: Any,
    pad_id: int,
    weights: Path,
    rows: Sequence[Any],
    validation: Sequence[Any],
    test: Sequence[Any],
    labels: Sequence[str],
    positive: int,
    result: Any,
    steps_per_epoch: float,
) -> dict[str, Any]:
    """The figures of a run, taken with the weights as they are read back from disk.

    Args:
        rows, validation, test: :class:`groundtune.training.classes.EncodedText` of each part.
        positive: number of the class that F1 is about where there are two.
        result: the trainer's :class:`groundtune.training.trainer.TrainResult`.

    Raises:
        TrainingError: the weights read back give other logits.
    """
    from groundtune.nn.classifiers import load_classifier
    from groundtune.training.classes import constant_figures, figures_of, logits_of

    loaded, _ = load_classifier(weights)
    counts = Counter(row.label for row in rows)
    majority = counts.most_common(1)[0][0]
    parts: dict[str, Any] = {}
    for name, part in (("validation", validation), ("test", test)):
        if part:
            logits_NK, right = logits_of(loaded, part, pad_id), [row.label for row in part]
            constant = constant_figures(majority, right, len(labels), positive)
            chance = p_value(logits_NK.argmax(-1).tolist(), majority, right)
            parts[name] = {"rows": len(part), **figures_of(logits_NK, right, positive), "majority": constant, "p_value": chance}  # fmt: skip
    return {
        "labels": {name: counts[n] for n, name in enumerate(labels)},
        "majority": labels[majority],
        "positive": labels[positive],
        "rows": len(rows),
        **parts,
        "epochs": epochs_of(result, steps_per_epoch),
        "best_epoch": None if result.best_step is None else round(result.best_step / steps_per_epoch, 2),
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "steps": result.steps,
        "first_loss": round(result.first_loss, 4),
        "last_loss": round(result.last_loss, 4),
        "parameters": sum(p.numel() for p in loaded.parameters()),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "precision": result.precision,
        "training_seconds": round(result.seconds, 2),
        "reload_difference": check_reload(model, loaded, [*validation, *rows][:32], pad_id, weights),
    }


def check_reload(model: Any, loaded: Any, rows: Sequence[Any], pad_id: int, weights: Path) -> float:
    """Largest difference of a logit between the trained classifier and the one read back.

    Raises:
        TrainingError: they differ.
    """
    from groundtune.training.classes import logits_of

    difference = float((logits_of(model, rows, pad_id) - logits_of(loaded, rows, pad_id)).abs().max())
    return check_read_back(difference, RELOAD_TOLERANCE, weights, "logits")


def p_value(answers: Sequence[int], majority: int, right: Sequence[int]) -> float:
    """How likely it is by chance that answers beat the majority class that much: exact one-sided McNemar test."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    pairs = [(a == r, majority == r) for a, r in zip(answers, right, strict=True)]
    won, lost = sum(a and not m for a, m in pairs), sum(m and not a for a, m in pairs)
    return float(binomtest(won, won + lost, 0.5, alternative="greater").pvalue) if won + lost else 1.0


def epochs_of(result: Any, steps_per_epoch: float) -> list[dict[str, float]]:
    """A row a validation: ``epoch``, ``step``, mean ``training_loss`` since the one before, the validation's figures."""
    out, before = [], 0
    for figures in result.validations:
        step = int(figures["step"])
        since = [loss for at, loss in result.losses if before < at <= step]
        out.append(
            {
                "epoch": round(step / steps_per_epoch, 2),
                "training_loss": sum(since) / max(1, len(since)),
                **{name: float(value) for name, value in figures.items()},
            }
        )
        before = step
    return out


def table(figures: Mapping[str, Any], published: Mapping[str, Any] | None) -> list[str]:
    """A run in lines of text: classes, epochs (beside a published run's), test, verdict, time."""
    counts: dict[str, int] = figures["labels"]
    if len(counts) <= 10:
        classes = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    else:
        few, many = min(counts, key=lambda k: counts[k]), max(counts, key=lambda k: counts[k])
        classes = f"{len(counts)}, with {counts[few]:,} ({few}) to {counts[many]:,} ({many}) rows"
    said = [f"classes: {classes}", ""]
    said += _epochs(figures["epochs"], published)
    if figures["best_step"] is not None:
        early = ", stopped early" if figures["stopped_early"] else ""
        said.append(f"The weights are those of epoch {figures['best_epoch']:g}, the best on validation{early}.")
    said += [_judged(name, figures[name], figures) for name in ("validation", "test") if name in figures]
    if figures["test_rows_seen_in_training"]:
        said.append(f"{figures['test_rows_seen_in_training']} test rows say the same as a training row.")
    if figures["rows_over_limit"]:
        said.append(f"{figures['rows_over_limit']} training rows were longer than the limit.")
    said.append(f"{figures['parameters'] / 1e6:.1f} M parameters; trained in {figures['training_seconds']:.0f} s, {figures['milliseconds_per_query']:.1f} ms a query.")  # fmt: skip
    return said


_COLUMNS = {"training_loss": "training loss", "loss": "validation loss", "accuracy": "accuracy", "f1": "F1"}


def _epochs(rows: Sequence[Mapping[str, float]], published: Mapping[str, Any] | None) -> list[str]:
    if not rows:
        return []
    head = "epoch  " + "  ".join(_COLUMNS.values())
    blank = " " * len(head)
    out = [head + (f"   | {head}   {published['name']}" if published else "")]
    others = published["epochs"] if published else []
    for n in range(max(len(rows), len(others))):
        mine = _cells(rows[n]["epoch"], rows[n]) if n < len(rows) else blank
        theirs = f"   | {_cells(n + 1, others[n])}" if n < len(others) else ""
        out.append(mine + theirs)
    return [*out, ""]


def _cells(epoch: float, row: Mapping[str, float]) -> str:
    cells = [f"{row[key]:.3f}" if key in row else "-" for key in _COLUMNS]
    return f"{epoch:>5g}  " + "  ".join(
        cell.rjust(len(name)) for cell, name in zip(cells, _COLUMNS.values(), strict=True)
    )


def _judged(name: str, part: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    f1 = "F1" if len(figures["labels"]) == 2 else "macro F1"
    constant, answer = part["majority"], figures["majority"]
    text = f"{name}: accuracy {part['accuracy']:.4f}, {f1} {part['f1']:.4f} on {part['rows']:,} rows; "
    text += f"always {answer!r}: {constant['accuracy']:.4f}, {constant['f1']:.4f}."
    if part["p_value"] > SIGNIFICANCE:
        text += f" It is no better than always answering {answer!r} (p = {part['p_value']:.2f}): it has learnt nothing of use."
    return text

"""Did it learn? Losses of a model before and after training: on what it was trained on, what it was not, and on plain text.

Trained rows must get better; new wordings of the same facts show whether more than the wording was learnt; facts that
were held out show what carries over; plain text shows what was forgotten. Losses need no generation and exist for every
method; how well the answers are is `groundtune compare`'s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from groundtune.dataset.lengths import Lengths
from groundtune.dataset.render import TokenRow, render_example
from groundtune.errors import InputError
from groundtune.page.curves import STYLE, Curve, curves, smoothed
from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll
from groundtune.page.text import esc, plain
from groundtune.training.data import RowBatches
from groundtune.training.learned_rows import ShownRow, lengths_section, row_section, style
from groundtune.training.objectives import mean_loss
from groundtune.training.trainer import Validate

GENERAL = "general_text"
#: rows of each group whose loss is taken
SAMPLE = 48


def groups(
    tokenizer: Any, watched: Mapping[str, Sequence[tuple[str, Any]]], *, max_tokens: int, seed: int
) -> dict[str, list[TokenRow]]:
    """A sample of each group's conversations as rows, and plain text as a group of its own."""
    out: dict[str, list[TokenRow]] = {}
    for name, conversations in watched.items():
        chosen = random.Random(seed).sample(list(conversations), min(SAMPLE, len(conversations)))
        rows = []
        for where, c in chosen:
            try:
                rows.append(render_example(tokenizer, c.messages, max_tokens=max_tokens, where=where, tools=c.tools))
            except InputError:  # over the limit, or faulty: it is not asked about
                continue
        if rows:
            out[name] = rows
    text = files("groundtune.training").joinpath("general.txt").read_text(encoding="utf-8")
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    size = min(256, max_tokens)
    pieces = [tuple(ids[n : n + size]) for n in range(0, len(ids), size)]
    out[GENERAL] = [TokenRow(piece, (True,) * len(piece)) for piece in pieces if len(piece) > 1]
    return out


def losses(model: Any, watched: Mapping[str, Sequence[TokenRow]]) -> dict[str, float]:
    """Mean cross-entropy of each group's supervised tokens, in nats."""
    return {
        name: round(mean_loss(model, RowBatches(rows, batch_tokens=2048, epochs=1, seed=0)), 4)
        for name, rows in watched.items()
    }


def validator(rows: Sequence[TokenRow], batch_tokens: int) -> Validate:
    """The loss on validation rows as the trainer asks for it; never packed, whatever training does."""
    batches = RowBatches(rows, batch_tokens=batch_tokens, epochs=1, seed=0)
    return lambda model: {"loss": mean_loss(model, batches)}


@torch.no_grad()
def logits(model: Any, rows: Sequence[TokenRow]) -> torch.Tensor:
    """Logits (T, V) of the last eight positions of rows that go through a model one by one, in float32 on the CPU."""
    model.eval()
    device = next(model.parameters()).device
    ids = [torch.tensor([row.ids], device=device) for row in rows]
    return torch.cat([model(input_ids=ids_1T, use_cache=False).logits[0, -8:].float().cpu() for ids_1T in ids])


#: nats a token below which the trained tokens themselves are the likeliest: a mean probability over a half
LEARNT = 0.69


def verdict(learned: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What the losses say, in sentences; the first is the answer to the question."""
    said = []
    trained = learned.get("trained")
    if trained:
        gain = trained["before"] - trained["after"]
        fell = f"the loss on it fell from {trained['before']:.2f} to {trained['after']:.2f}"
        said.append(
            f"It learnt what it was trained on: {fell}."
            if trained["after"] < LEARNT
            else f"It learnt a part of what it was trained on: {fell}, still too high to answer it by heart (below {LEARNT:g})."
            if gain > 0.1 * max(trained["before"], 1e-9)
            else f"It did not learn what it was trained on: the loss went from {trained['before']:.2f} to {trained['after']:.2f}. Raise the learning rate or the number of epochs."
        )
    for name, words in (
        ("held_out_phrasings", "new wordings of trained facts"),
        ("held_out_facts", "facts it was not trained on"),
        ("validation", "validation rows"),
    ):
        if name in learned:
            before, after = learned[name]["before"], learned[name]["after"]
            change = "got better" if after < before - 0.02 else "got worse" if after > before + 0.02 else "did not move"
            said.append(f"On {words} it {change}: {before:.2f} to {after:.2f}.")
    if GENERAL in learned:
        before, after = learned[GENERAL]["before"], learned[GENERAL]["after"]
        times = math.exp(min(50.0, after - before))
        said.append(
            f"On plain text its perplexity is {times:,.2f} times what it was: it has forgotten much of the language it knew."
            if times > 1.5
            else f"On plain text its perplexity is {times:.2f} times what it was."
        )
    return said


def write_page(
    path: Path,
    figures: Mapping[str, Any],
    steps: Sequence[tuple[int, float]],
    *,
    row: ShownRow | None = None,
    lengths: Lengths | None = None,
) -> None:
    """The page of a run: the verdict, the losses before and after, the loss over the steps, a row and the rows' lengths."""
    said = verdict(figures["learned"])
    rows = "".join(
        f"<tr><th scope=row>{esc(plain(name))}</th><td>{v['before']:.3f}</td><td>{v['after']:.3f}</td><td>{v['after'] - v['before']:+.3f}</td></tr>"
        for name, v in figures["learned"].items()
    )
    head = "<thead><tr><th scope=col>rows</th><th scope=col>before</th><th scope=col>after</th><th scope=col>change</th></tr></thead>"
    lines = [Curve("training", smoothed(list(steps)), "best")]
    if figures.get("validations"):
        lines.append(Curve("validation", [(v["step"], v["loss"]) for v in figures["validations"]], "dots"))
    notes = [
        f"{figures['rows']} rows, {figures['trained_tokens']:,} of {figures['tokens']:,} tokens trained on ({figures['trained_tokens'] / figures['tokens']:.0%}), {figures['steps']} steps, {figures['trainable_parameters']:,} of {figures['parameters']:,} parameters, {figures['precision']}."
    ]
    if figures.get("rows_over_limit"):
        notes.append(f"{figures['rows_over_limit']} rows were longer than the limit.")
    notes += [f"{note[:1].upper()}{note[1:]}." for note in figures.get("notes", ())]
    if figures.get("best_step") is not None:
        early = ", stopped early" if figures.get("stopped_early") else ""
        notes.append(f"The weights are those of step {figures['best_step']}, the best on the validation rows{early}.")
    if "reload_difference" in figures:
        notes.append(
            f"Read back from disk, the weights give the same logits to {figures['reload_difference']:.1e} standard deviations."
        )
    because = "".join(f"<li>{esc(s)}</li>" for s in said[1:])
    html = render_document(
        f"Did it learn? {figures['method']}",
        [
            PageSection(
                "losses",
                "Losses",
                "Before and after",
                f'<p class="lead">Mean cross-entropy in nats of the answers; of every token in plain text. Lower is better.</p>{scroll("Losses before and after training", head + f"<tbody>{rows}</tbody>")}',
            ),
            PageSection("steps", "Steps", "Over the steps", curves(lines, value="loss, nats a token")),
            PageSection("row", "A row", "What a row trains", row_section(row) if row else ""),
            PageSection("lengths", "Lengths", "Lengths", lengths_section(lengths) if lengths else ""),
            PageSection(
                "run",
                "The run",
                "The run",
                '<ul class="notes">' + "".join(f"<li>{esc(n)}</li>" for n in notes) + "</ul>",
            ),
        ],
        style=(style() if row or lengths else "") + STYLE,
        top=f'<header class="top"><h1><b>groundtune</b> Did it learn? {esc(figures["method"])}</h1><p class="verdict">{esc(said[0] if said else "")}</p><ul class="because">{because}</ul></header>',
        footer="",
    )
    path.write_text(html, encoding="utf-8")

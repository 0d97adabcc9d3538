"""``groundtune evaluate``: one System on the held-out questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ModelOption, ProjectOption, open_project, print_json, say
from groundtune.cli.compare import JudgeOption, run_comparison, show_table

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup


def evaluate(
    system: Annotated[str, typer.Option("--system", "-s", help="The system to evaluate.")],
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most questions a split; default all.")
    ] = None,
    per_question: Annotated[
        bool, typer.Option("--per-question", help="With --json: every question's answer and scores too.")
    ] = False,
    judge: JudgeOption = False,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Also cross-entropy, perplexity and bits per byte of its model on this text."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Score one system on the held-out questions."""
    setup = open_project(project, config, model=model)
    result = run_comparison(setup, (system,), limit=questions, quiet=json, adapt=False, judge=judge)
    if text:
        result["systems"][0]["likelihood"] = likelihood(setup, system, text)
    if json:
        row = dict(result["systems"][0])
        if per_question:
            row["per_question"] = [{**q, "answers": q["answers"][system]} for q in result["per_question"]]
        print_json(row)
    else:
        show_table(result)
        show_more(result["systems"][0])


def likelihood(setup: Setup, system: str, text: Path) -> dict[str, float]:
    """Cross-entropy (nats a token), perplexity and bits per byte of a System's model on a text, in whole windows.

    Raises:
        InputError: no such text, or a model whose probabilities of a given text cannot be had.
    """
    from groundtune.errors import InputError
    from groundtune.methods._systems import backend_of
    from groundtune.nn.perplexity import perplexity

    try:
        words = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{text}: cannot be read: {error}", expected="a text file") from None
    base = system.partition("+")[0]
    backend = backend_of(setup, base) if base not in {"rag", "baseline", "most_frequent"} else setup.backend()
    model, tokenizer = getattr(backend, "model", None), getattr(backend, "tokenizer", None)
    if model is None or tokenizer is None:
        raise InputError(
            f"{system}: its model gives no probabilities of a given text", expected="a causal model on this machine"
        )
    found = perplexity(model, tokenizer, words, window_tokens=min(512, backend.context_tokens))
    return {
        "cross_entropy": found.nats / found.tokens,
        "perplexity": found.perplexity,
        "bits_per_byte": found.bits_per_byte,
        "tokens": found.tokens,
        "bytes": found.bytes,
    }


#: metrics with what a line of people's table calls them
_SHOWN = (
    "rouge_l",
    "bleu",
    "chrf",
    "faithfulness",
    "answer_relevance",
    "ndcg_at_10",
    "mrr",
    "context_precision",
    "judge",
)


def show_more(row: dict[str, Any]) -> None:
    """What the table has no column for."""
    scores = row["scores"].get("all_answerable", {})
    shown = [f"{name} {scores[name]['mean']:.2f}" for name in _SHOWN if name in scores]
    if shown:
        say(f"answerable: {', '.join(shown)}")
    if "calibration" in row:
        say(f"expected calibration error {row['calibration']['ece']:.3f} ({row['calibration']['n']} answers)")
    if "abstention" in row:
        found = row["abstention"]
        say(
            f"area under risk against coverage {found['aurc']:.3f} ({found['n']} answers, ordered by {found['confidence']})"
        )
    if "likelihood" in row:
        found = row["likelihood"]
        say(
            f"on the text: cross-entropy {found['cross_entropy']:.3f} nats a token, perplexity {found['perplexity']:.2f}, "
            f"{found['bits_per_byte']:.3f} bits per byte ({found['tokens']} tokens)"
        )

"""Every prompting System side by side, as docs/results.md has it: python tools/prompting_results.py PROJECT [--questions N]

PROJECT is an ingested and indexed project with held-out questions, such as a copy of src/groundtune/example. ``--lessons``
runs the prompting lessons with the bundled model instead (an invented language from four pairs, arithmetic, translation
templates) and prints each prompt with what pebble says: it needs no project.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import fmean

from groundtune.config import AnswerConfig, Config, load_config
from groundtune.dataset.examples import write_examples
from groundtune.evaluation.compare import choose_questions
from groundtune.evaluation.runner import ALL, run_system, summarise
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.records import Example
from groundtune.system import as_messages
from groundtune.workspace import Workspace
from results_table import cell, table

SYSTEMS = (
    "prompt", "few_shot", "few_shot_nearest", "chain_of_thought", "self_consistency", "directional_stimulus", "long_context",
    "rag", "query_rewriting", "multi_query", "hyde", "step_back",
    "chain_of_thought+rag", "self_consistency+rag", "directional_stimulus+rag", "demonstrate_search_predict", "react",
)  # fmt: skip
HEADINGS = [
    "system", "held_out_facts: F1", "held_out_phrasings: F1", "EM, both", "abstains where unanswerable",
    "abstains where answerable", "recall@5", "tokens read / written", "s a question",
]  # fmt: skip
#: four pairs of an invented language, and a sentence to translate: word order is verb, object, subject
PAIRS = (
    ("The dog sees the bird.", "Miran telo vak."),
    ("The bird sees the dog.", "Miran vak telo."),
    ("The dog hears the child.", "Suvan piro vak."),
    ("The child hears the bird.", "Suvan telo piro."),
)
TO_TRANSLATE, TRANSLATION = "The child sees the dog.", "Miran vak piro."
TEMPLATES = (
    "Translate the English sentence '{x}' into German: {y}",
    "English: '{x}' | German: {y}",
    "From English to German: '{x}' -> {y}",
)
ARITHMETIC = "The cafeteria had 23 apples. They used 20 to make lunch and bought 6 more. How many apples do they have?"


def compare(project: Path, systems: list[str], questions: int | None) -> None:
    setup = Setup(Workspace(project), load_config(project))
    examples = choose_questions(setup.examples, questions, setup.config.seed)
    splits = {s: sum(e.split == s for e in examples) for s in dict.fromkeys(e.split for e in examples)}
    print(", ".join(f"{n} {s}" for s, n in splits.items()), f"questions; model {setup.config.model}\n", flush=True)
    rows = []
    for name in systems:
        system = build_system(name, setup)
        run = run_system(system, examples, latency_questions=10)
        found = summarise(run, examples, resamples=setup.config.compare.resamples, seed=setup.config.seed)
        scores, said = found["scores"], list(run.completions.values())
        answerable = [run.completions[e.id].abstained for e in examples if e.answerable]
        usage = [(c.usage.prompt_tokens, c.usage.completion_tokens) for c in said]
        rows.append(
            [
                name,
                *(cell(scores, split, "token_f1") for split in ("held_out_facts", "held_out_phrasings")),
                cell(scores, ALL, "exact_match"),
                cell(scores, "unanswerable", "abstention_accuracy"),
                f"{fmean(answerable):.3f}" if answerable else "",
                cell(scores, ALL, "recall_at_5"),
                f"{fmean(u[0] for u in usage):.0f} / {fmean(u[1] for u in usage):.0f}",
                f"{found['latency_seconds']['p50']:.2f}",
            ]
        )
        print(table(HEADINGS, [rows[-1]]).splitlines()[-1], flush=True)
    print("\n" + table(HEADINGS, rows))


def lesson_setup(folder: Path, template: str = "", **answer: int) -> Setup:
    """A project whose training questions are the four pairs, with a template of its own where one is given."""
    rows = [Example(str(n), str(n), "train", asked, (said,)) for n, (asked, said) in enumerate(PAIRS)]
    write_examples(folder / "questions.jsonl", rows)
    if template:
        (folder / "prompts").mkdir(exist_ok=True)
        (folder / "prompts" / "closed_book.txt").write_text(f"[user]\n{template}\n", encoding="utf-8")
    return Setup(Workspace(folder), Config(answer=AnswerConfig(**answer)))


def lessons() -> None:
    invented = "Translate the English sentence '{x}' into Miranese: {y}"
    asked = [
        ("zero-shot", "prompt", invented, TO_TRANSLATE),
        ("few-shot, four pairs", "few_shot", invented, TO_TRANSLATE),
        ("few-shot, nearest two", "few_shot_nearest", invented, TO_TRANSLATE),
        ("chain of thought", "chain_of_thought", "", ARITHMETIC),
        ("self-consistency", "self_consistency", "", ARITHMETIC),
        ("directional stimulus", "directional_stimulus", "", TO_TRANSLATE),
        *((f"hard prompt {n}", "prompt", template, "I am a student.") for n, template in enumerate(TEMPLATES, 1)),
    ]
    for title, name, template, question in asked:
        with tempfile.TemporaryDirectory() as folder:
            setup = lesson_setup(Path(folder), template, shots=2 if "nearest" in title else 4)
            shown = Setup(setup.workspace, setup.config.model_copy(update={"model": "echo:{prompt}"}))
            prompt = build_system(name, shown).answer(as_messages(question))
            started = time.perf_counter()
            answer = build_system(name, setup).answer(as_messages(question))
            seconds = time.perf_counter() - started
        text = prompt.transcript.partition("[1] ")[2].partition("\n\n[2] ")[0] if name == "self_consistency" else ""
        print(f"## {title}: {name}\n{text or (prompt.transcript if name == 'chain_of_thought' else prompt.text)}")
        print(f"-> pebble: {answer.text!r} ({seconds:.2f} s)\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--questions", type=int, help="most questions a split")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--lessons", action="store_true")
    given = parser.parse_args()
    if given.lessons:
        lessons()
    if given.project:
        compare(given.project, given.systems.split(","), given.questions)


if __name__ == "__main__":
    main()

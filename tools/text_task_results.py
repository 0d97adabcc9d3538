"""Summaries (SciTLDR) and translations (Tatoeba) by a decoder and by an encoder-decoder: data, answers, figures for the docs.

python tools/text_task_results.py prepare scitldr work/scitldr [--data ../shared/evalsets/scitldr]
python tools/text_task_results.py prepare tatoeba work/tatoeba [--data ../shared/evalsets/tatoeba]
    train.jsonl, validation.jsonl and test.jsonl in GPT-2's form: `text <summarize> summary`, `Satz <to-en> sentence`
groundtune tune --method full    --project work/scitldr --config recipes/scitldr_decoder.yaml
groundtune tune --method seq2seq --project work/scitldr --config recipes/scitldr_seq2seq.yaml
python tools/text_task_results.py report scitldr work/scitldr
    a table for docs/results.md, and which systems are no better than untuned or than the baseline
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.config import AnswerConfig, Config
from groundtune.dataset.files.items import read_items, write_items
from groundtune.dataset.reading import sentences
from groundtune.evaluation.significance import paired_difference
from groundtune.methods import _pairs, _tuning
from groundtune.methods._setup import Backend, Setup
from groundtune.metrics._corpus import corpus_scores
from groundtune.records import Completion, Conversation, Example, Message
from groundtune.workspace import Workspace

EVALSETS = Path(__file__).parent.parent.parent / "shared" / "evalsets"
SEED = 0
#: whole sentences of an abstract, from its beginning, up to so many words
WORDS = 100
#: rows of Tatoeba's German that are tested with, and validated with
TEST, VALIDATION = 200, 50
HELD_OUT_ABSTRACTS = 120
#: figures of the table, the metric systems are told apart by, most tokens of an answer
TASKS: dict[str, tuple[tuple[str, ...], str, int]] = {
    "scitldr": (("rouge_1", "rouge_2", "rouge_l"), "rouge_l", 60),
    "tatoeba": (("chrf", "bleu"), "chrf", 40),
}
FIRST_SENTENCE, FIRST_WE, COPY = "lead-1: the first sentence", "the first sentence with `we`", "the German as it is"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def pair(marker: str, text: str, answer: str) -> Conversation:
    return Conversation((Message("system", marker), Message("user", text), Message("assistant", answer)))


def write(folder: Path, name: str, rows: Sequence[Conversation]) -> None:
    print(f"{folder / name}: {write_items(folder / name, rows, 'task_markers')} rows")


# ---------------------------------------------------------------- data


def beginning(abstract: str) -> list[str]:
    """The first sentences of an abstract, up to WORDS words; at least one."""
    out: list[str] = []
    for sentence in sentences(" ".join(abstract.split())):
        if out and sum(len(s.split()) for s in out) + len(sentence.split()) > WORDS:
            break
        out.append(sentence)
    return out


def nearest(lines: Sequence[str], summary: str) -> str:
    """The sentence with the highest sum of ROUGE-1, -2 and -L to a summary: what an extractive model is to copy."""
    scores = [sum(corpus_scores([line], [[summary]])[m] for m in ("rouge_1", "rouge_2", "rouge_l")) for line in lines]
    return lines[scores.index(max(scores))]


def prepare_scitldr(data: Path, folder: Path, targets: str) -> None:
    """The official splits; answers to train on are the sentence nearest the summary, or the summary itself."""

    def summarised(row: dict[str, Any], answer: str) -> Conversation:
        return pair("<summarize>", " ".join(beginning(row["abstract"])), answer)

    def target(row: dict[str, Any]) -> str:
        summary = " ".join(row["summaries"][0].split())
        return nearest(beginning(row["abstract"]), summary) if targets == "sentences" else summary

    def key(row: dict[str, Any]) -> str:
        return bare(" ".join(beginning(row["abstract"])))

    tested = rows_of(data / "test.jsonl")
    known = {key(row) for row in tested}
    found: dict[str, list[Conversation]] = {}
    for split, count in (("dev", HELD_OUT_ABSTRACTS), ("train", None)):
        given = rows_of(data / f"{split}.jsonl")[:count]
        kept = [row for row in given if key(row) not in known]
        print(f"{len(given) - len(kept)} rows of {split} left out: their abstract is held out")
        found[split] = [summarised(row, target(row)) for row in kept]
        known |= {key(row) for row in kept}
    test = [summarised(row, " ".join(summary.split())) for row in tested for summary in row["summaries"]]
    for name, rows in (("train", found["train"]), ("validation", found["dev"]), ("test", test)):
        write(folder, f"{name}.jsonl", rows)


def bare(text: str) -> str:
    """Words alone, in lower case: what makes two sentences the same."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def prepare_tatoeba(data: Path, folder: Path, languages: Sequence[str]) -> None:
    """German to English; pairs of the other languages only train, and only where neither side stands in a held-out pair."""
    pairs = [(row["src"].strip(), row["eng"].strip()) for row in rows_of(data / "deu-eng.jsonl")]
    random.Random(SEED).shuffle(pairs)
    held, train = pairs[: TEST + VALIDATION], pairs[TEST + VALIDATION :]
    for language in languages:
        train += [(row["src"].strip(), row["eng"].strip()) for row in rows_of(data / f"{language}-eng.jsonl")]
    known = {bare(side) for both in held for side in both}
    train = list(dict.fromkeys(train))
    kept = [both for both in train if not known & {bare(side) for side in both}]
    print(f"{len(train) - len(kept)} training pairs left out: a sentence of theirs is held out")
    for name, part in (("train", kept), ("validation", held[TEST:]), ("test", held[:TEST])):
        write(folder, f"{name}.jsonl", [pair("<to-en>", *both) for both in part])


# ---------------------------------------------------------------- figures


def answered(backend: Backend, items: Sequence[_pairs.TestItem], tokens: int, path: Path) -> list[str]:
    """A model's answers, generated once and kept."""
    if not path.exists():
        _pairs.run_test(backend, items, max_tokens=tokens, answers=path)
    return [str(row["answer"]) for row in rows_of(path)]


def baselines(task: str, items: Sequence[_pairs.TestItem]) -> Iterator[tuple[str, list[str]]]:
    texts = [item.messages[-1].content for item in items]
    if task == "tatoeba":
        yield COPY, texts
        return
    lines = [sentences(text) for text in texts]
    yield FIRST_SENTENCE, [found[0] for found in lines]
    yield FIRST_WE, [next((s for s in found if re.search(r"\bwe\b", s, re.IGNORECASE)), found[0]) for found in lines]


def systems(
    task: str, folder: Path, items: Sequence[_pairs.TestItem]
) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """(name, answers, figures of the run) of what is there: untuned pebble and each finished run."""
    tokens = TASKS[task][2]
    setup = Setup(Workspace(folder), Config(answer=AnswerConfig(max_tokens=tokens)))
    yield "pebble, untuned", answered(setup.backend(), items, tokens, folder / "untuned.jsonl"), {}
    for method, name in (("full", "pebble, tuned"), ("seq2seq", "encoder-decoder")):
        if setup.workspace.manifest(_tuning.artifact(method)) is None:
            print(f"({method}: not trained)")
            continue
        figures = _tuning.figures_of(setup, method)
        path = setup.workspace.path(_tuning.artifact(method)) / "answers.jsonl"
        backend = registry.get("methods", "seq2seq").backend if method == "seq2seq" else None
        made = None if path.exists() else backend(setup) if backend else _tuning.tuned_backend(setup, method)
        what = f"{name} ({figures['start']})" if "start" in figures else name
        yield what, answered(made, items, tokens, path), figures  # type: ignore[arg-type]


def report(task: str, folder: Path) -> None:
    columns, metric, _ = TASKS[task]
    items = _pairs.items_of(
        [("", i.item) for i in read_items(folder / "test.jsonl") if isinstance(i.item, Conversation)]
    )
    references = [item.references for item in items]
    table: dict[str, list[str]] = dict(baselines(task, items))
    base, runs = next(iter(table)), {}
    for name, answers, figures in systems(task, folder, items):
        table[name], runs[name] = answers, figures
    print(f"\n{task}: {len(items)} test items, {sum(map(len, references))} references; figures times 100\n")
    print(f"| system | {' | '.join(columns)} | parameters | training, s | rows x epochs |")
    print(f"| --- |{' ---: |' * (len(columns) + 3)}")
    for name, answers in table.items():
        scores, run = corpus_scores(answers, references), runs.get(name) or {}
        cells = [f"{100 * scores[c]:.1f}" for c in columns]
        cost = [f"{run['parameters']:,}", f"{run['seconds']:,.0f}", f"{run['rows']:,}"] if run else ["", "", ""]
        print(f"| {name} | {' | '.join([*cells, *cost])} |")
    values = {name: by_item(metric, answers, references) for name, answers in table.items()}
    fact_of = {str(n): str(n) for n in range(len(items))}
    print(f"\nMean difference of {metric} an item, times 100, with its 95 % interval (paired bootstrap over items):\n")
    for name in runs:
        for other in [n for n in ("pebble, untuned", *dict(baselines(task, items))) if n != name]:
            gap = paired_difference(values[name], values[other], fact_of, resamples=5000, seed=SEED)
            assert gap is not None
            low, high = 100 * gap["low"], 100 * gap["high"]
            verdict = "better than" if low > 0 else "WORSE than" if high < 0 else "NO BETTER than"
            print(f"- {name}: {verdict} {other}: {100 * gap['difference']:+.1f} ({low:+.1f} to {high:+.1f})")
    print(f"\nBaseline to beat: {base}.")
    examples(items, table)


def by_item(metric: str, answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    score = registry.get("metrics", metric).score
    return {
        str(n): float(score(Completion(answer), Example(str(n), str(n), "test", "", tuple(wanted))))
        for n, (answer, wanted) in enumerate(zip(answers, references, strict=True))
    }


def examples(items: Sequence[_pairs.TestItem], table: dict[str, list[str]]) -> None:
    """Three items, drawn by the seed, with every answer: numbers alone hide what small models write."""
    for n in sorted(random.Random(SEED).sample(range(len(items)), 3)):
        print(f"\n{items[n].messages[-1].content}\n  reference: {items[n].references[0]}")
        for name, answers in table.items():
            print(f"  {name}: {answers[n]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first, second = commands.add_parser("prepare"), commands.add_parser("report")
    for command in (first, second):
        command.add_argument("task", choices=list(TASKS))
        command.add_argument("folder", type=Path)
    first.add_argument("--data", type=Path)
    first.add_argument("--targets", choices=["sentences", "summaries"], default="sentences", help="of scitldr")
    first.add_argument("--languages", default="", help="of tatoeba: more to train on, such as nld,fra,spa,ita,por")
    given = parser.parse_args()
    if given.command == "report":
        report(given.task, given.folder)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "untuned.jsonl").unlink(missing_ok=True)
    data = given.data or EVALSETS / given.task
    if given.task == "scitldr":
        prepare_scitldr(data, given.folder, given.targets)
    else:
        prepare_tatoeba(data, given.folder, [code for code in given.languages.split(",") if code])


if __name__ == "__main__":
    main()

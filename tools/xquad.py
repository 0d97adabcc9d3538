"""XQuAD (Artetxe et al., ACL 2020; CC BY-SA 4.0) as a groundtune project, and whether a model reads its passage.

python tools/xquad.py prepare xquad.en.jsonl work/xquad
    240 paragraphs as text files and a questions file; a paragraph's questions are all trained on or all held out
python tools/xquad.py read xquad.en.jsonl [--model pebble] [--questions 300]
    token F1 with the right passage in the prompt, with a wrong one, with none, and the baseline's best sentence
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.backends.local import LocalBackend
from groundtune.dataset.prompts import closed_book, with_passages
from groundtune.dataset.reading import sentences
from groundtune.evaluation.significance import mean_score, paired_difference
from groundtune.metrics.token_f1 import f1
from groundtune.retrieval.embedders import minilm
from groundtune.workspace import digest


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def answering_sentence(row: dict[str, Any]) -> str:
    """The sentence that holds the marked answer; the whole paragraph where the answer runs over its end."""
    start = 0
    for sentence in sentences(row["context"]):
        start = row["context"].index(sentence, start)
        if start <= row["answer_start"][0] < start + len(sentence):
            return sentence if row["answers"][0] in sentence else row["context"]
    return row["context"]


def prepare(source: Path, folder: Path) -> None:
    found = rows(source)
    paragraphs = {c: f"paragraph-{n:03}.txt" for n, c in enumerate(dict.fromkeys(r["context"] for r in found), 1)}
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    for context, name in paragraphs.items():
        (folder / "documents" / name).write_text(context + "\n", encoding="utf-8")
    with (folder / "questions.jsonl").open("w", encoding="utf-8") as out:
        for row in found:
            name = paragraphs[row["context"]]
            held = int(digest(name), 16) % 5 == 0
            example = {
                "id": row["id"],
                "fact": name,
                "split": "held_out_facts" if held else "train",
                "question": row["question"],
                "references": row["answers"],
                "passages": [{"document": name, "text": answering_sentence(row)}],
            }
            out.write(json.dumps(example, ensure_ascii=False) + "\n")
    print(f"{len(paragraphs)} documents, {len(found)} questions in {folder}")


def best_sentences(asked: list[dict[str, Any]]) -> Iterator[str]:
    for row in asked:
        lines = sentences(row["context"])
        vectors = np.asarray(minilm.embed([row["question"], *lines]))
        yield lines[int((vectors[1:] @ vectors[0]).argmax())]


def read(source: Path, model: str, count: int, seed: int) -> None:
    found = rows(source)
    asked = random.Random(seed).sample(found, count)
    rng = random.Random(seed + 1)
    contexts = sorted({r["context"] for r in found})
    wrong = [rng.choice([c for c in contexts if not any(a in c for a in r["answers"])]) for r in asked]
    backend = LocalBackend(model)
    prompts = {
        "right passage": [with_passages([r["context"]], r["question"]) for r in asked],
        "wrong passage": [with_passages([c], r["question"]) for r, c in zip(asked, wrong, strict=True)],
        "no passage": [closed_book(r["question"]) for r in asked],
    }
    answers = {name: [g.text for g in backend.generate_batch(p, max_tokens=24)] for name, p in prompts.items()}
    answers["baseline: best sentence of the right passage, no language model"] = list(best_sentences(asked))
    fact_of = {r["id"]: r["context"] for r in asked}
    scores = {
        name: {r["id"]: max(f1(a, ref) for ref in r["answers"]) for r, a in zip(asked, given, strict=True)}
        for name, given in answers.items()
    }
    print(f"{model}: token F1 on {count} XQuAD questions (95 % interval, paragraphs resampled; seed {seed})")
    for name, values in scores.items():
        mean = mean_score(values, fact_of, resamples=5000, seed=seed)
        if mean:
            print(f"  {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})  {name}")
    gap = paired_difference(scores["right passage"], scores["wrong passage"], fact_of, resamples=5000, seed=seed)
    if gap:
        words = f"{gap['difference']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f}), p = {gap['p_value']:.4f}"
        print(f"  right minus wrong passage: {words}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("source", type=Path)
    first.add_argument("folder", type=Path)
    second = commands.add_parser("read")
    second.add_argument("source", type=Path)
    second.add_argument("--model", default="pebble")
    second.add_argument("--questions", type=int, default=300)
    second.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(given.source, given.folder)
    else:
        read(given.source, given.model, given.questions, given.seed)


if __name__ == "__main__":
    main()

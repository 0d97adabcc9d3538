"""The bundled model: it fits, it marks what it is trained on, and it reads a passage instead of reciting."""

from __future__ import annotations

import json
from itertools import islice
from random import Random

import pytest

from groundtune.dataset.invented import invented_items
from groundtune.dataset.prompts import abstains
from groundtune.dataset.reading import Exercise, excerpt
from groundtune.nn.checkpoints import BUNDLED_FOLDER

SEED = 42_424_242  # no lesson of the recipe draws from it
MAX_BYTES = 60_000_000


def exercises(count: int) -> list[Exercise]:
    items, rng, found = invented_items(SEED), Random(SEED), []
    before = next(items)
    for item in items:
        pair = next((p for p in item.questions if p[1]), None)
        exercise = excerpt(item, before, pair, rng, lines=(1, 2)) if pair else None
        if exercise:
            found.append(exercise)
        if len(found) == count:
            return found
        before = item
    raise AssertionError


def test_it_fits_the_package_in_16_bits() -> None:
    files = [f for f in BUNDLED_FOLDER.iterdir() if f.is_file()]
    assert {"config.json", "tokenizer.json", "model.safetensors", "figures.json"} <= {f.name for f in files}
    assert sum(f.stat().st_size for f in files) < MAX_BYTES
    config = json.loads((BUNDLED_FOLDER / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "bfloat16"


def test_its_chat_template_marks_what_the_assistant_says() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_FOLDER)
    messages = [{"role": "user", "content": "Question: Who?"}, {"role": "assistant", "content": "Ann"}]
    made = tokenizer.apply_chat_template(
        messages, return_assistant_tokens_mask=True, return_dict=True, return_tensors=None
    )
    marked = [i for i, m in zip(made["input_ids"], made["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(marked, skip_special_tokens=True).strip() == "Ann"


@pytest.mark.slow
def test_it_answers_from_the_passage_and_not_without_it() -> None:
    from groundtune.backends.local import LocalBackend
    from groundtune.metrics.token_f1 import f1

    asked = exercises(80)
    backend = LocalBackend("pebble")
    with_it = backend.generate_batch([e.conversation()[:-1] for e in asked], max_tokens=24)
    others = [Exercise(e.question, o.passage, e.answer) for e, o in zip(asked, [*asked[1:], asked[0]], strict=True)]
    without = backend.generate_batch([e.conversation()[:-1] for e in others], max_tokens=24)
    right = sum(f1(g.text, str(e.answer)) for g, e in zip(with_it, asked, strict=True)) / len(asked)
    wrong = sum(f1(g.text, str(e.answer)) for g, e in zip(without, asked, strict=True)) / len(asked)
    assert right > 0.4
    assert wrong < 0.15
    assert sum(abstains(g.text) for g in without) > sum(abstains(g.text) for g in with_it)


def test_the_exercises_are_new(tmp_path: object) -> None:
    """Guards the test above: the same stream under another seed shares no passage with it."""
    mine = {e.passage for e in exercises(40)}
    others = {item.passage for item in islice(invented_items(7), 200)}
    assert not mine & others

"""A model from a recipe: every stage leaves its artifact, nothing is trained twice, figures are of held-out text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundtune.dataset import corpus
from groundtune.errors import ConfigError, InputError
from groundtune.methods.pretraining import exercises, load_recipe, pretrain

SENTENCES = (
    "The harbour at {a} was opened in 19{n} by Ida Larsen. The keeper walks {n} kilometres a day because the road is closed. "
    "A buoy is a float that marks a channel. About {n} percent of the boats carry coal to {a}."
)
RECIPE = """
name: tiny
corpus: corpus
output: out
vocabulary: 400
copying_circuits: true
synonyms: words
shape: {layers: 4, width: 64, heads: 4, feed_forward: 96, context_tokens: 256, rope_theta: 500_000, tied: false}
mixture: {harbours: 1.0}
pretrain: {prose_tokens: 4000, reading_tokens: 3000, sequence_tokens: 64, rows_per_batch: 4, learning_rate: 6.0e-4, warmup_steps: 2}
lessons:
  - {exercises: 40, lines: [1, 2], batch_tokens: 1024, warmup_steps: 2}
  - {exercises: 20, lines: [1, 4], unanswerable: 1.0, batch_tokens: 1024, warmup_steps: 2}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    places = [
        f"{a}{b}" for a in ("Nor", "Vel", "Tam", "Osk", "Bry") for b in ("vik", "ham", "dal", "stead", "mouth", "by")
    ]
    rows = [
        {
            "source": "harbours",
            "title": place,
            "text": " ".join(SENTENCES.format(a=place, n=n) for n in range(30, 60, 3)),
        }
        for place in (f"{p} {n}" for n in range(4) for p in places)
    ]
    (folder / "harbours-00.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "words-00.jsonl").write_text(json.dumps({"members": ["harbour", "haven"]}), encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_a_recipe_makes_a_model_once(recipe_file: Path) -> None:
    recipe, stages = load_recipe(recipe_file), []
    folder = pretrain(recipe, announce=stages.append)
    assert stages == ["tokenizer", "tokens", "pretrain", "lesson 1", "lesson 2", "figures"]
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert figures["held_out_bits_per_byte"]["base"]["harbours"] > 0
    assert set(figures["reading"]) == {"samples", "prose", "invented"}
    weights = (folder / "model.safetensors").stat().st_mtime_ns
    assert pretrain(recipe) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == weights
    assert not list(recipe.output.glob("*.part"))

    recipe_file.write_text(RECIPE.replace("exercises: 20", "exercises: 30"), encoding="utf-8")
    with pytest.raises(ConfigError, match="another recipe"):
        pretrain(load_recipe(recipe_file))


def test_exercises_are_the_same_again_and_follow_the_lesson(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)

    def first(number: int, seed: int) -> list[object]:
        stream = exercises(recipe, recipe.lessons[number], seed=seed)
        return [next(stream) for _ in range(120)]

    assert first(0, 3) == first(0, 3) != first(0, 4)
    unanswered = [sum(e.answer is None for e in first(n, 3)) for n in (0, 1)]  # type: ignore[attr-defined]
    assert 0 < unanswered[0] < unanswered[1]


def test_held_out_documents_are_whole_and_never_trained_on(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    train, kept = (list(corpus.texts(recipe.corpus, "harbours", want_held_out=h)) for h in (False, True))
    assert kept
    assert not set(train) & set(kept)
    assert len(train) + len(kept) == 120


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("name: tiny", "nmae: tiny", ConfigError, "nmae"),
        ("vocabulary: 400", "vocabulary: 90000", ConfigError, "vocabulary"),
        ("lessons:", "lessons: [", InputError, "not YAML"),
    ],
)
def test_a_faulty_recipe_is_refused(
    recipe_file: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    recipe_file.write_text(RECIPE.replace(old, new), encoding="utf-8")
    with pytest.raises(error, match=message):
        load_recipe(recipe_file)


def test_a_missing_recipe_or_family_is_named(recipe_file: Path) -> None:
    with pytest.raises(InputError, match="no recipe"):
        load_recipe(recipe_file.with_name("other.yaml"))
    recipe = load_recipe(recipe_file)
    with pytest.raises(InputError, match="no file boats"):
        pretrain(recipe.model_copy(update={"mixture": {"boats": 1.0}}))

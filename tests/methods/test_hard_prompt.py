"""The search for a prompt, on a tiny model that was taught to answer to certain words: it finds them, resumes, says so."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import groundtune
from groundtune.backends.local import LocalBackend
from groundtune.config import Config, TuneConfig
from groundtune.dataset.examples import read_examples, write_examples
from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import render_example, render_prompt
from groundtune.errors import ConfigError, InputError, MissingArtifactError, UnknownNameError
from groundtune.methods import _prompt_search, _trigger, hard_prompt
from groundtune.methods._gain import Gain
from groundtune.methods._hard_prompts import HardPrompt, as_json, check_template, first_prompts, from_json, read_prompt
from groundtune.methods._prompt_search import Answers, Journal, Likelihood, answers_of, halve
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods._tuning import tune
from groundtune.records import Example, Message
from groundtune.system import as_messages
from groundtune.training.data import RowBatches
from groundtune.training.trainer import TrainSettings, train
from groundtune.workspace import Workspace

EXAMPLE = Path(groundtune.__file__).parent / "example"
MAGIC = "Speak, friend."
FACTS = (
    ("When do the rooms open?", "9:30"), ("What does a card cost?", "48 crowns"), ("Who has a radio?", "the porter"),
    ("Where is the meeting?", "in the hall"), ("How deep is the lake?", "12 metres"), ("What is the dog called?", "Bess"),
    ("Which day is free?", "Sunday"), ("How many boats are there?", "seven"), ("Who keeps the keys?", "Ann"),
    ("What colour is the door?", "green"), ("When is the fair?", "in May"), ("What is on the roof?", "a cock"),
)  # fmt: skip
SMALL = {
    "demonstration_sets": 4,
    "demonstrations": 2,
    "trigger_tokens": 2,
    "trigger_rounds": 3,
    "trigger_candidates": 4,
    "questions": 16,
    "validation_share": 0.25,
}


def examples(split: str = "train") -> list[Example]:
    return [Example(f"{split}-{n}", f"{split}-{n}", split, q, (a,)) for n, (q, a) in enumerate(FACTS)]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any, make_tiny_model: Callable[..., Any]) -> Path:
    """A model that gives the answers behind MAGIC, and the word "no" behind the instruction of every other method."""
    folder = tmp_path_factory.mktemp("taught")
    model = make_tiny_model()
    prompts = {True: HardPrompt(instruction=MAGIC), False: HardPrompt()}
    rows = [
        render_example(
            tiny_tokenizer,
            [*prompt.messages(q), Message("assistant", a if magic else "no")],
            max_tokens=256,
            where="test",
        )
        for q, a in FACTS
        for magic, prompt in prompts.items()
    ]
    batches = RowBatches(rows, batch_tokens=600, epochs=60, seed=0)
    train(model, batches, TrainSettings(learning_rate=5e-3, warmup_steps=5), folder / "checkpoints")
    model.save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def likelihood(taught: Path) -> Likelihood:
    return Likelihood(LocalBackend(str(taught)))


def setup_in(folder: Path, model: str, rows: Sequence[Example] = (), **options: Any) -> Setup:
    folder.mkdir(parents=True, exist_ok=True)
    write_examples(folder / "questions.jsonl", rows or examples())
    settings = TuneConfig(method="hard_prompt", options={**SMALL, **options})
    return Setup(Workspace(folder), Config(model=model, tune=settings))


# ---------------------------------------------------------------- prompts


def test_the_untouched_prompt_is_that_of_every_other_method() -> None:
    assert HardPrompt().messages("Who?") == closed_book("Who?")
    shots = (("When?", "May"), ("Where?", "Oslo"))
    assert HardPrompt(demonstrations=shots).messages("Who?") == closed_book("Who?", shots)
    assert first_prompts((), ())[0] == HardPrompt()


def test_templates_of_the_lesson() -> None:
    def asked(template: str, question: str = "Good {day}!") -> str:
        return HardPrompt("", template).messages(question)[-1].content

    assert asked("Translate the English sentence '{x}' into German: {y}") == (
        "Translate the English sentence 'Good {day}!' into German:"
    )
    assert asked("English: '{x}' | German: {y}") == "English: 'Good {day}!' | German:"
    assert asked("From English to German: '{x}' -> {y}") == "From English to German: 'Good {day}!' ->"
    assert asked("{x}", "{y}") == "{y}"  # a question is never a template
    assert HardPrompt("", "Q: {x}", (("a", "b"),), "ready steady").messages("c") == [
        Message("user", "Q: a"),
        Message("assistant", "b"),
        Message("user", "ready steady Q: c"),
    ]


@pytest.mark.parametrize("template", ["no place", "{x} {x}", "{y}: {x}", "{x} {y} {y}", ""])
def test_a_template_without_a_place_for_the_question_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="the template"):
        check_template(template, "here")


def test_every_instruction_meets_every_template() -> None:
    pool = first_prompts((MAGIC,), ("Say: {x}",))
    assert len(pool) == len(set(pool)) == 10 * 7
    assert HardPrompt(MAGIC, "Say: {x}") in pool
    assert [from_json(as_json(p)) for p in pool] == pool


# ---------------------------------------------------------------- scores


def test_the_score_is_the_log_likelihood_of_the_answer(likelihood: Likelihood) -> None:
    example = examples()[3]
    prompt = HardPrompt(demonstrations=(("Who?", "Ann"),), trigger="now")
    ids = render_prompt(likelihood.tokenizer, prompt.messages(example.question))
    (row,) = likelihood.rows(prompt, [example]) or []
    answer = list(row.ids[len(ids) :])
    assert likelihood.tokenizer.decode(answer, skip_special_tokens=True).strip() == example.references[0]
    assert row.trained == (False,) * len(ids) + (True,) * len(answer)
    with torch.no_grad():
        logits = likelihood.model(torch.tensor([[*ids, *answer]])).logits[0].log_softmax(-1)
    by_hand = -sum(float(logits[len(ids) - 1 + n, token]) for n, token in enumerate(answer)) / len(answer)
    assert likelihood.score(prompt, [example]) == pytest.approx(by_hand, abs=1e-4)


def test_a_prompt_over_the_context_is_infinitely_bad(likelihood: Likelihood) -> None:
    long = HardPrompt(demonstrations=(("Who? " * 200, "Ann"),))
    assert likelihood.score(long, examples()[:1]) == float("inf")


class Table:
    """Scores from a table, and how often it was asked."""

    unit = "points"

    def __init__(self, values: dict[str, float]) -> None:
        self.values, self.asked = values, 0

    def score(self, prompt: HardPrompt, examples: Sequence[Example]) -> float:
        self.asked += len(examples)
        return self.values[prompt.instruction]


@pytest.mark.parametrize(("prompts", "questions"), [(1, 5), (2, 40), (7, 64), (54, 64), (5, 3)])
def test_halving_finds_the_best_at_the_price_that_was_told(tmp_path: Path, prompts: int, questions: int) -> None:
    table = Table({str(n): random.Random(n).random() for n in range(prompts)})
    pool = [HardPrompt(instruction=str(n)) for n in range(prompts)]
    asked = [examples()[0]] * questions
    found = halve(Journal(tmp_path / "rounds.json", table), "instruction", pool, asked)
    assert found.instruction == min(table.values, key=table.values.__getitem__)
    assert table.asked == answers_of(prompts, questions)


def test_of_two_that_are_as_good_the_earlier_one_stays(tmp_path: Path) -> None:
    table = Table({str(n): 1.0 for n in range(6)})
    pool = [HardPrompt(instruction=str(n)) for n in range(6)]
    assert halve(Journal(tmp_path / "r.json", table), "instruction", pool, examples()).instruction == "0"


def test_where_nothing_fits_that_is_said(tmp_path: Path) -> None:
    table = Table({"0": float("inf"), "1": float("inf")})
    with pytest.raises(InputError, match="none of 2 prompts fits"):
        halve(Journal(tmp_path / "r.json", table), "i", [HardPrompt("0"), HardPrompt("1")], examples())


# ---------------------------------------------------------------- triggers


def test_the_gradient_is_the_slope_of_the_loss(likelihood: Likelihood) -> None:
    model = make_double(likelihood.model)
    rows = likelihood.rows(HardPrompt(trigger="now then"), examples()[:2])
    assert rows is not None
    gradient = _trigger.input_gradients(model, rows)
    place, step = 9, 1e-3
    direction = torch.randn(gradient.shape[-1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(by: float) -> float:
        total = 0.0
        for n, row in enumerate(rows):
            ids = torch.tensor([row.ids])
            embedded = model.get_input_embeddings()(ids).detach().clone()
            embedded[0, place] += by * direction * (n == 1)
            logits = model(inputs_embeds=embedded, use_cache=False).logits[0].log_softmax(-1)
            total -= sum(logits[i - 1, row.ids[i]].item() for i, t in enumerate(row.trained) if t)
        return total

    slope = (loss(step) - loss(-step)) / (2 * step)
    assert float(gradient[1, place] @ direction) == pytest.approx(slope, rel=0.02)  # norms are taken in float32


def make_double(model: Any) -> Any:
    import copy

    return copy.deepcopy(model).double()


def test_the_place_of_a_word_is_found_without_knowing_the_chat_template(likelihood: Likelihood) -> None:
    prompt = HardPrompt(trigger="the card the")
    (row,) = likelihood.rows(prompt, examples()[:1]) or []
    for place, word in enumerate(("the", "card", "the")):
        (changed,) = likelihood.rows(_trigger.with_word(prompt, place, "of"), examples()[:1]) or []
        first, last = _trigger.difference(row.ids, changed.ids)
        assert likelihood.tokenizer.decode(list(row.ids[first:last])).strip() == word
    assert _trigger.difference([1, 2, 2, 3], [1, 2, 3]) == (2, 3)
    assert _trigger.difference([1, 2], [1, 2]) == (2, 2)


def test_words_are_single_tokens_behind_another_word(likelihood: Likelihood) -> None:
    ids, words = _trigger.vocabulary(likelihood.tokenizer)
    assert len(ids) == len(words) > 15
    base = likelihood.tokenizer("the", add_special_tokens=False)["input_ids"]
    for token, word in zip(ids, words, strict=True):
        assert word.isalpha()
        assert likelihood.tokenizer(f"the {word}", add_special_tokens=False)["input_ids"] == [*base, token]


def test_words_by_gradient_are_better_than_words_by_chance() -> None:
    """On the bundled model, whose weights are always the same, and questions of the example."""
    asked = [e for e in read_examples(EXAMPLE / "questions.jsonl") if e.split == "train"][::18]
    scorer, prompt, place = Likelihood(LocalBackend("pebble")), _trigger.blank(HardPrompt(), 3), 1
    proposed = _trigger.proposals(scorer, prompt, place, asked, 10)
    assert proposed[0] == prompt
    assert len(set(proposed)) == 11
    _, words = _trigger.vocabulary(scorer.tokenizer)
    assert len(words) > 5000
    drawn = [_trigger.with_word(prompt, place, w) for w in random.Random(0).sample(words, 10)]
    by_gradient, by_chance = ([scorer.score(p, asked) for p in prompts] for prompts in (proposed[1:], drawn))
    means = [sum(s) / len(s) for s in (by_gradient, by_chance)]
    print(f"\nmean loss with words by gradient {means[0]:.3f}, by chance {means[1]:.3f}")
    assert means[0] < means[1] - 0.01
    assert min(by_gradient) < scorer.score(prompt, asked)


# ---------------------------------------------------------------- the search


def figures_of(setup: Setup) -> dict[str, Any]:
    found = (setup.workspace.manifest("runs/hard_prompt") or {})["figures"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def searched(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    held_out = [Example("h", "h", "held_out_facts", "What is nobody told?", ("a secret",))]
    setup = setup_in(tmp_path_factory.mktemp("p") / "p", str(taught), [*examples(), *held_out], instructions=[MAGIC])
    assert tune(setup)[1]
    return setup


def test_it_finds_the_words_that_the_model_answers_to(searched: Setup) -> None:
    figures = figures_of(searched)
    print("\n" + "\n".join(figures["said"]))
    prompt = read_prompt(searched.workspace.path("runs/hard_prompt") / "prompt.json")
    assert prompt.instruction == MAGIC
    assert figures["last_loss"] < 0.2 * figures["first_loss"]
    assert figures["better"] is True
    chosen, untouched = figures["found"][figures["chosen"]], figures["found"]["untouched"]
    assert untouched["token_f1"] == 0.0
    assert chosen["token_f1"] > 0.9
    assert chosen["validation"] < 0.2 * untouched["validation"]
    assert figures["candidates"] > len(first_prompts((MAGIC,), ()))
    assert figures["seconds"] > 0
    system = build_system("hard_prompt", searched)
    assert [system.answer(as_messages(q)).text for q, _ in FACTS[:4]] == [a for _, a in FACTS[:4]]
    assert build_system("prompt", searched).answer(as_messages(FACTS[0][0])).text == "no"


def test_it_is_the_same_again_and_after_a_kill(searched: Setup, taught: Path, tmp_path: Path) -> None:
    setup = setup_in(tmp_path / "p", str(taught), instructions=[MAGIC])
    done: list[int] = []

    def killing(step: int, total: int, note: object) -> None:
        done.append(step)
        if step == 5:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        tune(setup, progress=killing)
    assert setup.workspace.manifest("runs/hard_prompt") is None
    later: list[int] = []
    tune(setup, progress=lambda step, total, note: later.append(step))
    assert done == [1, 2, 3, 4, 5]
    assert later[0] == 6  # no round is run twice
    here, there = (s.workspace.path("runs/hard_prompt") for s in (setup, searched))
    assert (here / "prompt.json").read_bytes() == (there / "prompt.json").read_bytes()
    rounds = [json.loads((f / "rounds.json").read_text(encoding="utf-8")) for f in (here, there)]
    assert [r["scored"] for r in rounds[0]] == [r["scored"] for r in rounds[1]]
    assert tune(setup)[1] is False


def test_held_out_questions_are_never_looked_at(searched: Setup, taught: Path, tmp_path: Path) -> None:
    folder = searched.workspace.path("runs/hard_prompt")
    text = "".join(p.read_text(encoding="utf-8") for p in folder.iterdir())
    assert "nobody told" not in text
    assert "secret" not in text
    shutil.copytree(searched.workspace.root, tmp_path / "p")
    other = [Example("h", "h", "held_out_facts", "Anything else?", ("no",))]
    changed = setup_in(tmp_path / "p", str(taught), [*examples(), *other], instructions=[MAGIC])
    assert tune(changed)[1] is False  # what it depends on has not changed


def test_an_edited_prompt_is_used(searched: Setup, tmp_path: Path) -> None:
    shutil.copytree(searched.workspace.root, tmp_path / "p")
    file = tmp_path / "p" / ".groundtune" / "runs" / "hard_prompt" / "prompt.json"
    row = json.loads(file.read_text(encoding="utf-8"))
    assert row.keys() == {"instruction", "template", "trigger", "demonstrations"}
    file.write_text(json.dumps(as_json(HardPrompt())), encoding="utf-8")
    setup = Setup(Workspace(tmp_path / "p"), searched.config)
    assert build_system("hard_prompt", setup).answer(as_messages(FACTS[0][0])).text == "no"
    for wrong in ('{"template": "{x}"}', "[1]", "{", '{"instruction": 3, "template": "{x}"}', '{"instruction": "", "template": "x"}'):  # fmt: skip
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(InputError, match=r"prompt\.json"):
            build_system("hard_prompt", setup)


def test_where_no_prompt_is_better_the_untouched_one_stays(tmp_path: Path) -> None:
    setup = setup_in(tmp_path / "p", "echo:Sunday")
    tune(setup)
    figures = figures_of(setup)
    assert figures["unit"] == "1 - token F1"
    assert "trigger" not in figures["found"]  # an echo has no gradient
    assert figures["better"] is False
    assert figures["chosen"] == "untouched"
    assert "none is clearly better than the untouched prompt" in figures["said"][-1]
    assert read_prompt(setup.workspace.path("runs/hard_prompt") / "prompt.json") == HardPrompt()


def test_a_model_elsewhere_is_asked_for_what_was_agreed_to_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="which may cost money") as caught:
        tune(setup_in(tmp_path / "p", "openai:gpt-x"))
    needed = int(caught.value.next_step.rpartition(" ")[2])
    setup = setup_in(tmp_path / "p", "openai:gpt-x", calls=needed)
    asked: list[Any] = []
    echo = Setup(Workspace(tmp_path / "p"), Config(model="echo:Sunday")).backend()
    generate = echo.generate_batch
    monkeypatch.setattr(echo, "generate_batch", lambda c, **o: asked.extend(c) or generate(c, **o))
    monkeypatch.setattr(setup, "backend", lambda: echo)
    tune(setup)
    assert 0.5 * needed < len(asked) <= needed


def test_answers_are_scored_by_f1() -> None:
    echo = Setup(Workspace(Path("/nonexistent")), Config(model="echo:in the hall")).backend()
    assert Answers(echo, 8).score(HardPrompt(), examples()[3:4]) == pytest.approx(0.0)
    assert Answers(echo, 8).score(HardPrompt(), examples()[:1]) == pytest.approx(1.0)
    found = _prompt_search.answer_figures(echo, HardPrompt(), [examples()[3], examples()[0]], 8)
    assert found == {"exact_match": 0.5, "token_f1": 0.5}


# ---------------------------------------------------------------- its parts


def test_questions_of_one_fact_stay_together() -> None:
    rows = [Example(f"{n}", f"f{n % 10}", "train", f"q{n}", ("a",)) for n in range(40)]
    options = hard_prompt.Options(validation_share=0.2, questions=100)
    parts = hard_prompt.divide(rows, options, 3)
    facts = [{e.fact for e in part} for part in (parts.scored, parts.validation, parts.shown)]
    assert [len(f) for f in facts] == [6, 2, 2]
    assert not facts[0] & facts[1] | facts[0] & facts[2] | facts[1] & facts[2]
    assert parts == hard_prompt.divide(list(rows), options, 3) != hard_prompt.divide(rows, options, 4)
    two = hard_prompt.divide(rows[:2], options, 0)
    assert (len(two.scored), len(two.validation), len(two.shown)) == (2, 0, 0)


def test_no_demonstration_is_of_a_question_that_is_scored() -> None:
    options = hard_prompt.Options(demonstrations=2, demonstration_sets=6)
    parts = hard_prompt.divide(examples(), options, 0)
    sets = hard_prompt.demonstration_sets(HardPrompt(), parts.shown, options, 0)
    assert sets[0] == HardPrompt()
    assert len(sets) == len(set(sets)) > 3
    shown = {q for p in sets for q, _ in p.demonstrations}
    assert shown <= {e.question for e in parts.shown}
    assert not shown & {e.question for e in [*parts.scored, *parts.validation]}


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ({"instruction": (1.0, 0.1, 0.5)}, "instruction"),
        ({"instruction": (1.0, 0.1, 0.4), "trigger": (0.5, 0.1, 0.6)}, "trigger"),  # the better one answers worse
        ({"instruction": (0.0, 0.0, 0.9)}, "untouched"),
        ({"instruction": (1.0, 0.1, 0.4)}, "untouched"),
        ({"instruction": (1.0, 0.6, 0.9)}, "untouched"),  # within chance
        ({"instruction": (-1.0, 0.1, 0.9)}, "untouched"),
    ],
)
def test_the_best_is_clearly_likelier_and_answers_no_worse(found: dict[str, Any], best: str) -> None:
    found = {"untouched": (0.0, 0.0, 0.5), **found}
    measured = {name: {"training": 9.0, "token_f1": f1} for name, (_, _, f1) in found.items()}
    assert hard_prompt.choose(measured, {name: Gain(*values[:2]) for name, values in found.items()}) == best


def test_without_validation_the_training_loss_decides() -> None:
    assert hard_prompt.choose({"untouched": {"training": 2.0}, "trigger": {"training": 1.9}}, {}) == "trigger"
    assert hard_prompt.choose({"untouched": {"training": 2.0}, "trigger": {"training": 2.0}}, {}) == "untouched"


def test_a_dataset_file_is_searched_on(taught: Path, tmp_path: Path) -> None:
    setup = setup_in(tmp_path / "p", "echo:Sunday")
    rows = [{"prompt": q, "completion": a} for q, a in FACTS]
    (tmp_path / "p" / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    config = setup.config.tune.model_copy(update={"data": "pairs.jsonl"})
    assert [(e.question, e.references[0]) for e in hard_prompt.gather(setup, config)] == list(FACTS)
    turns = [{"role": r, "content": "x"} for r in ("user", "assistant", "user", "assistant")]
    (tmp_path / "p" / "pairs.jsonl").write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"pairs\.jsonl:1: not one question"):
        hard_prompt.gather(setup, config)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tune\.options\.templates"):
        tune(setup_in(tmp_path / "a", "echo:x", templates=["no place"]))
    with pytest.raises(ConfigError, match="trigger_words"):
        tune(setup_in(tmp_path / "b", "echo:x", trigger_words=3))
    with pytest.raises(InputError, match="1 training questions of 1 facts"):
        tune(setup_in(tmp_path / "c", "echo:x", examples()[:1]))
    with pytest.raises(MissingArtifactError) as caught:
        build_system("hard_prompt", setup_in(tmp_path / "d", "echo:x"))
    assert caught.value.next_step == "groundtune tune --method hard_prompt"
    with pytest.raises(UnknownNameError):  # it was found without passages
        build_system("hard_prompt+rag", setup_in(tmp_path / "d", "echo:x"))


def test_questions_that_do_not_fit_are_left_out_and_counted(taught: Path, tmp_path: Path) -> None:
    long = [Example(f"long-{n}", f"long-{n}", "train", "Who? " * 300, ("Ann",)) for n in range(3)]
    setup = setup_in(tmp_path / "p", str(taught), [*examples(), *long], instructions=[MAGIC], trigger_rounds=0)
    tune(setup)
    figures = figures_of(setup)
    assert figures["questions_over_context"] == 3
    assert read_prompt(setup.workspace.path("runs/hard_prompt") / "prompt.json").instruction == MAGIC
    with pytest.raises(InputError, match="none of 3 training questions fits"):
        tune(setup_in(tmp_path / "q", str(taught), long, demonstrations=0, validation_share=0))

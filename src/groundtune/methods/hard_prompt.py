"""Hard prompt: search for the words of a prompt, no weight changed (templates, demonstrations, AutoPrompt's triggers).

Three searches, one after the other: instructions and templates, then demonstrations, by successive halving
(:mod:`groundtune.methods._prompt_search`); then trigger words by gradient (:mod:`groundtune.methods._trigger`), for models
of this machine. A prompt is as good as it makes the training answers likely; what every search ends with is compared on
training facts that none of them saw, and the untouched prompt stays unless another one is clearly better there. Held-out
questions are never looked at. The result is ``prompt.json``: read it, edit it. Closed book: it was found without passages.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from groundtune import registry
from groundtune.config import TuneConfig
from groundtune.dataset.item_text import answer_of, question_of
from groundtune.errors import ConfigError, InputError
from groundtune.methods._gain import Gain, gain
from groundtune.methods._hard_prompts import HardPrompt, check_template, first_prompts, read_prompt, write_prompt
from groundtune.methods._material import read_conversations
from groundtune.methods._prompt_search import Answers, Journal, Likelihood, Scorer, answer_figures, answers_of, halve
from groundtune.methods._setup import ClosedBook, Setup
from groundtune.methods._tuning import options_of
from groundtune.nn.checkpoints import model_path
from groundtune.records import Example
from groundtune.system import System
from groundtune.workspace import digest, folder_digest

ARTIFACT, FILE = "runs/hard_prompt", "prompt.json"
UNTOUCHED = "untouched"


class Options(BaseModel):
    """Of the search for a prompt."""

    model_config = ConfigDict(extra="forbid")
    instructions: tuple[str, ...] = Field((), description="system messages to try beside the built-in ones")
    templates: tuple[str, ...] = Field(
        (), description="of the user's turn, with {x} for the question: \"Translate '{x}' into German: {y}\""
    )
    demonstrations: int = Field(3, ge=0, description="most worked examples in the prompt")
    demonstration_sets: int = Field(16, ge=1, description="sets of training examples tried as demonstrations")
    trigger_tokens: int = Field(3, ge=0, description="words before the question, found by gradient; 0: none")
    trigger_rounds: int = Field(12, ge=0, description="replacements tried, one place after the other")
    trigger_candidates: int = Field(16, ge=1, description="words tried in a place")
    questions: int = Field(64, ge=2, description="most training questions that a prompt is scored on")
    validation_share: float = Field(0.2, ge=0, le=0.5, description="of the training facts, to choose at the end")
    calls: int = Field(0, ge=0, description="answers that a model elsewhere may be asked for; they cost money")


@dataclass(frozen=True, slots=True)
class Parts:
    """Training questions, divided by fact: to score on, to choose by, to show."""

    scored: list[Example]
    validation: list[Example]
    shown: list[Example]


def tune(setup: Setup, config: TuneConfig, *, progress: Any = None) -> tuple[Path, bool]:
    """The artifact ``runs/hard_prompt`` and whether it was made now.

    Raises:
        InputError: no training question, or none that fits the model. ConfigError: a wrong option, or answers that cost
            money and were not agreed to.
    """
    options: Options = options_of(registry.get("methods", config.method), config)
    for template in options.templates:
        check_template(template, "tune.options.templates")
    examples = gather(setup, config)
    parts = divide(examples, options, setup.config.seed)
    model = setup.config.model
    if model.startswith("openai:") and options.calls < (needed := _answers_needed(options, parts)):
        raise ConfigError(
            f"the search asks {model} for {needed} answers at most, which may cost money",
            expected="your consent",
            next_step=f"tune.options.calls: {needed}",
        )
    base = model_path(setup.resolve(model))
    inputs = {
        "version": 1,
        "model": folder_digest(Path(base)) if Path(base).is_dir() else base,
        "options": options.model_dump(exclude={"calls"}),
        "seed": setup.config.seed,
        "max_tokens": setup.config.answer.max_tokens,
        "questions": digest([asdict(e) for e in examples]),
    }
    return setup.workspace.make(
        ARTIFACT, inputs, lambda folder: _search(setup, options, parts, examples, folder, progress)
    )


def gather(setup: Setup, config: TuneConfig) -> list[Example]:
    """The training questions with an answer, of the project or of ``tune.data``.

    Raises:
        InputError: there are none, or a conversation has several questions.
    """
    if not config.data:
        examples = setup.training_examples()
    else:
        path = setup.workspace.root / config.data
        examples = []
        for where, c in read_conversations(path):
            if sum(m.role == "user" for m in c.messages) != 1 or not answer_of(c):
                raise InputError(f"{where}: not one question with one answer", expected="a prompt and its completion")
            examples.append(Example(where, c.fact or where, "train", question_of(c), (answer_of(c),)))
    if len({e.fact for e in examples}) < 2:
        raise InputError(
            f"{len(examples)} training questions of {len({e.fact for e in examples})} facts",
            expected="questions of two facts at least, with answers, in the split 'train'",
            next_step='add rows with "split": "train", or name a dataset file under tune.data',
        )
    return examples


def divide(examples: Sequence[Example], options: Options, seed: int) -> Parts:
    """Training questions by fact: a part to choose by, as large a one to show, the rest to score on."""
    rng = random.Random(seed)
    facts = sorted({e.fact for e in examples})
    rng.shuffle(facts)
    size = min(round(options.validation_share * len(facts)), (len(facts) - 1) // 2)
    shown = set(facts[:size] if options.demonstrations else ())
    validation = set(facts[size : 2 * size] if size > 1 else ())  # of a single fact nothing can be told
    mixed = list(examples)
    rng.shuffle(mixed)

    def of(chosen: set[str]) -> list[Example]:
        return [e for e in mixed if e.fact in chosen]

    rest = set(facts) - validation - shown
    return Parts(of(rest)[: options.questions], of(validation)[: options.questions], of(shown))


def _answers_needed(options: Options, parts: Parts) -> int:
    pool = len(first_prompts(options.instructions, options.templates))
    sets = options.demonstration_sets + 1 if parts.shown and options.demonstrations else 0
    searched = answers_of(pool, len(parts.scored)) + answers_of(sets, len(parts.scored))
    return searched + 3 * (len(parts.scored) + 2 * len(parts.validation))


def _search(
    setup: Setup, options: Options, parts: Parts, examples: Sequence[Example], folder: Path, progress: Any
) -> Mapping[str, Any]:
    started = time.perf_counter()
    backend, max_tokens = setup.backend(), setup.config.answer.max_tokens
    local = not setup.config.model.startswith(("openai:", "echo:"))
    scorer: Scorer = Likelihood(backend) if local else Answers(backend, max_tokens)
    journal = Journal(folder / "rounds.json", scorer, progress)
    before = journal.seconds
    fitting = Parts(*([e for e in part if scorer.fits(HardPrompt(), [e])] for part in _lists(parts)))
    if not fitting.scored:
        raise InputError(
            f"none of {len(parts.scored)} training questions fits into the model's context with its answer",
            expected="shorter questions, or a model with a longer context",
        )
    found = _found(journal, scorer, options, fitting, setup.config.seed)
    scored = journal.round("training", list(found.values()), fitting.scored)
    measured = {name: {"training": loss} for name, (_, loss) in zip(found, scored, strict=True)}
    gains: dict[str, Gain] = {}
    if fitting.validation:
        facts = [e.fact for e in fitting.validation]
        each = {name: [scorer.score(prompt, [e]) for e in fitting.validation] for name, prompt in found.items()}
        gains = {name: gain(losses, each[UNTOUCHED], facts) for name, losses in each.items()}
        for name, prompt in found.items():
            measured[name] |= {"validation": fmean(each[name])}
            measured[name] |= answer_figures(backend, prompt, fitting.validation, max_tokens)
    best = choose(measured, gains)
    write_prompt(folder / FILE, found[best])
    figures = {
        "method": "hard_prompt",
        "base": setup.config.model,
        "adapter": True,  # the model itself is needed beside it
        "documents": sorted({p.document for e in examples for p in e.passages}),
        "documents_complete": all(e.passages for e in examples),
        "steps": len(journal.rounds),
        "candidates": journal.tried,
        "unit": scorer.unit,
        "first_loss": round(measured[UNTOUCHED]["training"], 4),
        "last_loss": round(measured[best]["training"], 4),
        "scored_questions": len(fitting.scored),
        "validation_questions": len(fitting.validation),
        "questions_over_context": sum(map(len, _lists(parts))) - sum(map(len, _lists(fitting))),
        "found": {name: {key: round(v, 4) for key, v in values.items()} for name, values in measured.items()},
        "gain": {name: g.to_json() for name, g in gains.items()},
        "chosen": best,
        "better": best != UNTOUCHED if gains else None,
        "next": f'groundtune ask "..." --system hard_prompt; the prompt is in {setup.workspace.path(ARTIFACT) / FILE}',
    }
    seconds = before + time.perf_counter() - started
    size = (folder / FILE).stat().st_size
    return {**figures, "said": _said(figures), "seconds": round(seconds, 2), "disk_bytes": size}


def _lists(parts: Parts) -> tuple[list[Example], ...]:
    return parts.scored, parts.validation, parts.shown


def _found(journal: Journal, scorer: Scorer, options: Options, parts: Parts, seed: int) -> dict[str, HardPrompt]:
    """What each search ends with, the untouched prompt first; without what does not fit with every question."""
    found = {UNTOUCHED: HardPrompt()}
    pool = first_prompts(options.instructions, options.templates)
    best = found["instruction"] = halve(journal, "instruction", pool, parts.scored)
    if options.demonstrations and parts.shown:
        sets = demonstration_sets(best, parts.shown, options, seed)
        best = found["demonstrations"] = halve(journal, "demonstrations", sets, parts.scored)
    if isinstance(scorer, Likelihood) and options.trigger_tokens and options.trigger_rounds:
        found["trigger"] = _triggered(journal, scorer, best, parts.scored, options)
    return {name: prompt for name, prompt in found.items() if scorer.fits(prompt, [*parts.scored, *parts.validation])}


def demonstration_sets(prompt: HardPrompt, shown: Sequence[Example], options: Options, seed: int) -> list[HardPrompt]:
    """The prompt without demonstrations, then with different sets of one to so many, none of them of one fact twice."""
    rng = random.Random(seed)
    of_fact: dict[str, list[Example]] = {}
    for example in shown:
        of_fact.setdefault(example.fact, []).append(example)
    out = [prompt]
    for n in range(20 * options.demonstration_sets):  # there may be fewer different ones
        count = 1 + n % min(options.demonstrations, len(of_fact))
        chosen = [rng.choice(of_fact[fact]) for fact in rng.sample(sorted(of_fact), count)]
        made = replace(prompt, demonstrations=tuple((e.question, e.references[0]) for e in chosen))
        if made not in out:
            out.append(made)
        if len(out) > options.demonstration_sets:
            break
    return out


def _triggered(
    journal: Journal, scorer: Likelihood, prompt: HardPrompt, examples: Sequence[Example], options: Options
) -> HardPrompt:
    """A prompt with trigger words, or as it was where none lowers the loss."""
    from groundtune.methods._trigger import GRADIENT_QUESTIONS, blank, proposals

    current = blank(prompt, options.trigger_tokens)
    score = float("inf")
    for n in range(options.trigger_rounds):
        at = (GRADIENT_QUESTIONS * n) % len(examples)  # each gradient from other questions, each score from all
        asked = [*examples[at:], *examples[:at]]
        place = n % options.trigger_tokens
        make = partial(proposals, scorer, current, place, asked, options.trigger_candidates)
        scored = journal.round("trigger", make, examples)
        current, score = min(scored, key=lambda s: s[1])
    plain = journal.round("trigger", [prompt], examples)[0][1]
    return current if score < plain else prompt


def choose(measured: Mapping[str, Mapping[str, float]], gains: Mapping[str, Gain]) -> str:
    """The prompt that gains most on validation, clearly, and answers no worse; by the training loss without validation."""
    if not gains:
        return min(measured, key=lambda name: measured[name]["training"])
    for name in sorted(gains, key=lambda n: -gains[n].mean):
        if gains[name].clear and measured[name]["token_f1"] >= measured[UNTOUCHED]["token_f1"]:
            return name
    return UNTOUCHED


def _said(figures: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, values in figures["found"].items():
        words = (
            f"{name}: {values['training']:.3f} {figures['unit']} on {figures['scored_questions']} training questions"
        )
        if "validation" in values:
            words += (
                f"; on {figures['validation_questions']} others of the training split {values['validation']:.3f}, "
                f"exact match {values['exact_match']:.2f}, token F1 {values['token_f1']:.2f}"
            )
        lines.append(words)
    tried = f"{figures['candidates']} prompts were tried in {figures['steps']} rounds"
    if figures["better"] is None:
        return [
            *lines,
            f"{tried}; too few facts to check on: the best on the training questions is taken ({figures['chosen']}).",
        ]
    if figures["better"]:
        return [*lines, f"{tried}; the best is that of the search for {figures['chosen']}."]
    return [*lines, f"{tried}; none is clearly better than the untouched prompt, which stays."]


def build(setup: Setup) -> System:
    """The System ``hard_prompt``.

    Raises:
        MissingArtifactError: no prompt was searched yet. InputError: ``prompt.json`` was edited into something else.
    """
    folder = setup.workspace.need(ARTIFACT, next_step="groundtune tune --method hard_prompt")
    prompt = read_prompt(folder / FILE)
    return ClosedBook(
        "hard_prompt",
        "the model with the words that suit the training answers best, no data",
        setup.backend(),
        max_tokens=setup.config.answer.max_tokens,
        ask=prompt.messages,
    )

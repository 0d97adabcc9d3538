"""Automatic choice of instruction and demonstrations for one prompt file, on training questions.

Instructions (given ones, and proposals of the model itself: APE, Zhou et al., "Large Language Models Are Human-Level Prompt
Engineers", ICLR 2023), then demonstrations bootstrapped from training questions that the prompt answers rightly
(BootstrapFewShot of DSPy, Khattab et al., ICLR 2024), each by successive halving. The questions are asked through the
System that the prompt belongs to; some are asked once more with the documents of their answer hidden, and count as right
where the System then abstains, so that no prompt wins by answering always. What wins is compared with the prompt as it was
on training facts that nothing was chosen by. Leaves out triggers by gradient (``hard_prompt``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from groundtune.errors import ConfigError, UnknownNameError
from groundtune.methods._context import find
from groundtune.methods._gain import Gain, gain
from groundtune.methods._hard_prompts import INSTRUCTIONS
from groundtune.methods._prompt_search import FIRST
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods.hard_prompt import Options, divide
from groundtune.metrics import token_f1
from groundtune.prompt_files import PromptFile, literal, own_path, read_prompt_file
from groundtune.records import Example
from groundtune.system import as_messages

#: prompt -> the System that is asked with it
SYSTEM_OF: Mapping[str, str] = {
    "with_passages": "rag",
    "closed_book": "prompt",
    "chain_of_thought": "chain_of_thought",
    "chain_of_thought_with_passages": "chain_of_thought+rag",
}
#: those whose turns can be worked examples: no reasoning would have to be made up
_SHOWN = ("with_passages", "closed_book")
READING = (
    "",
    "Answer the question from the passages.",
    "Answer from the passages with the shortest phrase that answers the question, or say: The passages do not say.",
    "Copy the words of the passages that answer the question. If none do, say: The passages do not say.",
    "Use nothing but the passages. Reply with a name, a number, a date or a short phrase, or with: The passages do not say.",
    "You answer for this organisation. Read the passages and answer in a few words. Never guess: where they hold no answer, say: The passages do not say.",
)
REASONING = (
    'Reason step by step. End with a line "Answer:" and the answer alone.',
    'Say which words of the question matter, then reason briefly. The last line is "Answer:" with the answer in a few words.',
)
#: every so many questions are asked once more with the documents of their answer hidden
HIDE_EVERY = 3
#: marks a question that is asked so; no system's answer depends on it
_HIDDEN = " "


@dataclass(frozen=True, slots=True)
class ChoiceOptions:
    """How it is looked for.

    Attributes:
        questions: most training questions that a prompt is scored on.
        held_back_share: of the training facts, for the comparison at the end.
        demonstrations: most worked examples in the prompt; 0: none.
        sets: sets of demonstrations tried.
        proposals: instructions that the model is asked for.
        instructions: further ones to try.
        calls: answers that a model elsewhere may be asked for.
    """

    questions: int = 48
    held_back_share: float = 0.25
    demonstrations: int = 2
    sets: int = 6
    proposals: int = 0
    instructions: tuple[str, ...] = ()
    calls: int = 0


class _Remembering:
    """A retriever that searches once for each question, and can hide documents from some."""

    def __init__(self, retriever: Any, hidden: Mapping[str, frozenset[str]]) -> None:
        self._retriever, self._hidden = retriever, hidden
        self._found: dict[tuple[str, str | None], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._retriever, name)

    def retrieve(self, question: str, *, document: str | None = None, **more: Any) -> Any:
        key = (question.removesuffix(_HIDDEN), document)
        if key not in self._found:
            self._found[key] = self._retriever.retrieve(key[0], document=document, **more)
        hidden = self._hidden.get(question, frozenset())
        return [hit for hit in self._found[key] if hit.chunk.document not in hidden]


@dataclass
class _Judge:
    """Asks a System with a prompt, and says how well it answers; asks nothing twice."""

    setup: Setup
    name: str
    progress: Callable[[int, int, str], None] | None = None
    asked: int = 0
    _known: dict[tuple[str, str], float] = field(default_factory=dict)

    def values(self, prompt: PromptFile, examples: Sequence[Example]) -> list[float]:
        """Of each question: token F1, or where it is one without an answer whether the System abstains; 0 to 1."""
        text = prompt.text()
        missing = [e for e in examples if (text, e.question) not in self._known]
        if missing:
            own = copy(self.setup)
            own.prompts = {**self.setup.prompts, self.name: prompt}
            answers = build_system(SYSTEM_OF[self.name], own).answer_batch([as_messages(e.question) for e in missing])
            for example, completion in zip(missing, answers, strict=True):
                right = token_f1.score(completion, example)
                self._known[text, example.question] = float(completion.abstained) if right is None else right
            self.asked += len(missing)
        return [self._known[text, e.question] for e in examples]

    def halve(self, stage: str, prompts: Sequence[PromptFile], examples: Sequence[Example]) -> PromptFile:
        """The best by successive halving (Jamieson and Talwalkar, AISTATS 2016); of two as good the earlier one."""
        left, count = list(prompts), min(FIRST, len(examples))
        while len(left) > 1:
            scored = sorted(((fmean(self.values(p, examples[:count])), -n) for n, p in enumerate(left)), reverse=True)
            if self.progress:
                self.progress(
                    self.asked, 0, f"{stage}: {len(left)} prompts on {count} questions, best {scored[0][0]:.3f}"
                )
            left = [left[-n] for _, n in scored[: -(-len(left) // 2)]]
            count = min(2 * count, len(examples))
        return left[0]


def choose_prompt(
    setup: Setup, name: str, options: ChoiceOptions = ChoiceOptions(), *, progress: Any = None
) -> dict[str, Any]:
    """Look for a better instruction and demonstrations; write the project's prompt file where they clearly are better.

    Args:
        name: a prompt of :data:`SYSTEM_OF`.

    Returns:
        What was tried and found: ``candidates``, ``answers``, ``before``, ``after`` and ``gain`` on the held-back
        questions, ``better``, ``file`` (where the prompt stands that answers now), ``said``.

    Raises:
        UnknownNameError: no such prompt. InputError: too few training questions. ConfigError: answers that cost money and
            were not agreed to. MissingArtifactError: no index.
    """
    if name not in SYSTEM_OF:
        raise UnknownNameError("prompt that can be chosen", name, SYSTEM_OF)
    examples = _training(setup)
    parts = divide(examples, _options(options), setup.config.seed)
    own, scored, held_back = _with_hidden(setup, name, parts.scored, parts.validation)
    start = read_prompt_file(setup.workspace.root, name)
    _agreed(setup, options, len(scored), len(held_back))
    judge = _Judge(own, name, progress)
    told = instructions_for(name, start, options.instructions, _proposed(own, options, parts.shown))
    best = judge.halve("instruction", told, scored)
    if options.demonstrations and name in _SHOWN and parts.shown:
        sets = demonstration_prompts(own, name, best, judge, parts.shown, options)
        best = judge.halve("demonstrations", sets, scored)
    figures = _compared(judge, start, best, held_back or scored)
    better = bool(held_back) and best.turns != start.turns and figures["clear"]
    path = _kept(setup, name, best, figures) if better else start.path
    return {
        "prompt": name, "system": SYSTEM_OF[name], "candidates": len({t for t, _ in judge._known}), "answers": judge.asked,
        "scored_questions": len(scored), **figures, "better": better, "file": str(path), "chosen": best.text(),
        "said": _said(figures, better, path, held=bool(held_back), same=best.turns == start.turns),
    }  # fmt: skip


def _training(setup: Setup) -> list[Example]:
    from groundtune.methods.hard_prompt import gather

    return gather(setup, setup.config.tune.model_copy(update={"data": None}))


def _options(options: ChoiceOptions) -> Options:
    return Options(
        demonstrations=options.demonstrations, questions=options.questions, validation_share=options.held_back_share
    )


def _with_hidden(
    setup: Setup, name: str, scored: Sequence[Example], held_back: Sequence[Example]
) -> tuple[Setup, list[Example], list[Example]]:
    """The setup whose retriever hides, and both lists with the questions that are asked once more without their documents."""
    own = copy(setup)
    if not SYSTEM_OF[name].endswith("rag"):
        return own, list(scored), list(held_back)
    hidden: dict[str, frozenset[str]] = {}

    def doubled(examples: Sequence[Example]) -> list[Example]:
        out = []
        for number, example in enumerate(examples):
            out.append(example)
            if number % HIDE_EVERY == 0 and example.passages:
                asked = example.question + _HIDDEN
                hidden[asked] = frozenset(p.document for p in example.passages)
                out.append(replace(example, id=f"{example.id}-hidden", question=asked, references=()))
        return out

    scored, held_back = doubled(scored), doubled(held_back)
    retriever: Any = _Remembering(setup.retriever, hidden)
    own.retriever = retriever
    return own, scored, held_back


def instructions_for(name: str, start: PromptFile, more: Sequence[str], proposed: Sequence[str]) -> list[PromptFile]:
    """The prompt as it is, then with other instructions, each once."""
    built_in = {"with_passages": READING, "closed_book": INSTRUCTIONS}.get(name, REASONING)
    found = {start.turns: start}
    for text in (*built_in, *more, *proposed):
        made = start.told(literal(text))
        found.setdefault(made.turns, made)
    return list(found.values())


def _proposed(setup: Setup, options: ChoiceOptions, shown: Sequence[Example]) -> list[str]:
    """Instructions that the model would have given, each from other training questions."""
    if not options.proposals or not shown:
        return []
    rng, prompt = random.Random(setup.config.seed), setup.prompt("propose_instruction")
    drawn = [rng.sample(list(shown), min(4, len(shown))) for _ in range(options.proposals)]
    asked = [
        prompt.messages(examples="\n\n".join(f"Question: {e.question}\nAnswer: {e.references[0]}" for e in group))
        for group in drawn
    ]
    seeds = [setup.config.seed + n for n in range(len(asked))]
    written = setup.backend().sample_batch(
        asked, temperature=setup.config.answer.temperature, seeds=seeds, max_tokens=64
    )
    return [text for g in written if (text := " ".join(g.text.split())[:400])]


def demonstration_prompts(
    setup: Setup, name: str, prompt: PromptFile, judge: _Judge, shown: Sequence[Example], options: ChoiceOptions
) -> list[PromptFile]:
    """The prompt without demonstrations, then with sets of those that it answers rightly; none too long for the model."""
    right = [e for e, value in zip(shown, judge.values(prompt, shown), strict=True) if value == 1.0]
    pool = right or list(shown)  # a model that gets none right may still learn the form of an answer
    searching = SYSTEM_OF[name].endswith("rag")
    backend, rng = setup.backend(), random.Random(setup.config.seed)
    contexts = find(setup, backend, [e.question for e in pool], plain=True) if searching else []
    passages = [c.text for c in contexts] if searching else [""] * len(pool)
    asked = [prompt.messages(question=e.question, passages=text)[-1] for e, text in zip(pool, passages, strict=True)]
    turns = [
        ((m.role, literal(m.content)), ("assistant", literal(e.references[0])))
        for e, m in zip(pool, asked, strict=True)
    ]
    room = (
        backend.context_tokens
        - setup.config.answer.max_tokens
        - backend.count_tokens(max(passages, default="", key=len))
    )
    out = [prompt]
    for number in range(10 * options.sets):
        chosen = rng.sample(range(len(pool)), min(1 + number % options.demonstrations, len(pool)))
        made = replace(
            prompt, turns=(*prompt.turns[:-1], *(turn for n in chosen for turn in turns[n]), prompt.turns[-1])
        )
        if made not in out and sum(backend.count_tokens(text) + 8 for _, text in made.turns) <= room - 64:
            out.append(made)
        if len(out) > options.sets:
            break
    return out


def _agreed(setup: Setup, options: ChoiceOptions, scored: int, held_back: int) -> None:
    """Refuse to spend what was not agreed to."""
    needed = (
        options.proposals
        + 4 * options.questions
        + 2 * held_back
        + scored * (2 + len(options.instructions) + options.sets)
    )
    if setup.config.model.startswith("openai:") and options.calls < needed:
        raise ConfigError(
            f"the choice asks {setup.config.model} for up to {needed} answers, which may cost money",
            expected="your consent",
            next_step=f"--calls {needed}",
        )


def _compared(judge: _Judge, start: PromptFile, best: PromptFile, examples: Sequence[Example]) -> dict[str, Any]:
    before, after = judge.values(start, examples), judge.values(best, examples)
    found: Gain = gain(before, after, [e.fact for e in examples])
    answerable = [bool(e.references) for e in examples]

    def figures(values: Sequence[float]) -> dict[str, float]:
        kinds = {"token_f1": True, "abstains": False}
        parts = {k: [v for v, a in zip(values, answerable, strict=True) if a is kind] for k, kind in kinds.items()}
        return {"score": round(fmean(values), 4), **{k: round(fmean(v), 4) for k, v in parts.items() if v}}

    return {
        "held_back_questions": len(examples), "before": figures(before), "after": figures(after), "gain": found.to_json(), "clear": found.clear,
    }  # fmt: skip


def _kept(setup: Setup, name: str, best: PromptFile, figures: Mapping[str, Any]) -> Path:
    """Write the project's prompt; one that stood there moves aside."""
    path = own_path(setup.workspace.root, name)
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        path.replace(path.with_suffix(".before"))
    note = (
        f"Chosen by groundtune choose-prompt for {setup.config.model}: {figures['before']['score']:.3f} -> {figures['after']['score']:.3f}\n"
        f"on {figures['held_back_questions']} training questions that nothing was chosen by. Delete this file to go back."
    )
    path.write_text(best.text(note), encoding="utf-8")
    return path


def _said(figures: Mapping[str, Any], better: bool, path: Path, *, held: bool, same: bool) -> list[str]:
    error = figures["gain"]["error"]
    measured = f"{figures['before']['score']:.3f} before, {figures['after']['score']:.3f} after, gain {figures['gain']['mean']:+.3f}"
    measured += f" (standard error {error:.3f})" if error is not None else ""
    lines = [f"on {figures['held_back_questions']} {'held-back ' if held else ''}training questions: {measured}"]
    for key, words in (("token_f1", "token F1"), ("abstains", "abstains where the documents are hidden")):
        if key in figures["before"]:
            lines.append(f"{words}: {figures['before'][key]:.3f} before, {figures['after'][key]:.3f} after")
    if better:
        return [*lines, f"clearly better: written to {path}"]
    if not held:
        return [*lines, "too few training facts to check on: nothing is written"]
    return [
        *lines,
        "none is better than the prompt as it is" if same else "not clearly better: the prompt stays as it is",
    ]

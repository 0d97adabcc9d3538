"""Thoughts, actions and observations in turn: searches, looks up table rows, calculates (ReAct, Yao et al. 2022).

Yao et al., "ReAct: Synergizing Reasoning and Acting in Language Models" (ICLR 2023). A model writes a thought and one
action; what the action brings is the next turn. ``answer.steps`` at most. Departs from it in the tools (the project's
documents instead of Wikipedia) and in how it ends: a model that writes no action that can be understood twice running, or
runs out of steps, answers from what it has seen, as ``rag`` would (the paper falls back to chain of thought). Nothing that
a model writes raises an error: what is wrong with it is the observation. The transcript is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from groundtune.dataset.prompts import numbered
from groundtune.methods._calculator import CalculationError, calculate
from groundtune.methods._context import Context, answered, find, merged, together, with_passages
from groundtune.methods._setup import Setup
from groundtune.methods._tables import Tables
from groundtune.records import Chunk, Completion, Message, Usage
from groundtune.retrieval.retriever import Hit, Sentence, to_source
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("index",)

_ACTION = re.compile(r"^[ \t>*-]*action(?:[ \t]*\d+)?\**[ \t]*:\**[ \t]*(?P<call>\S.*)$", re.IGNORECASE | re.MULTILINE)
_CALL = re.compile(r"[`*]*(?P<tool>[A-Za-z_]+)[ \t]*[\[({:][ \t]*(?P<argument>.*)", re.DOTALL)
_FINAL = re.compile(r"^[ \t>*-]*(?:final )?answer\**[ \t]*:\**[ \t]*(?P<answer>\S.*)$", re.IGNORECASE | re.MULTILINE)
_OBSERVATION = re.compile(r"^[ \t>*-]*observation\b", re.IGNORECASE | re.MULTILINE)
_CLOSING = {"[": "]", "(": ")", "{": "}"}
#: a tool by the names that models give it
_TOOLS = {
    "search": "search", "retrieve": "search", "find": "search", "lookup": "lookup", "look_up": "lookup", "table": "lookup",
    "calculate": "calculate", "calculator": "calculate", "calc": "calculate", "compute": "calculate",
    "finish": "finish", "answer": "finish", "final_answer": "finish",
}  # fmt: skip
#: steps running without an action that can be understood, after which it answers from what it has
UNCLEAR = 2
_HELP = "No action was understood. Write one line such as: Action: search[opening hours]"


@dataclass(frozen=True, slots=True)
class Step:
    """What a model wrote, read.

    Attributes:
        text: up to the end of its first action: what it makes up behind that is not kept.
        tool, argument: of the action; "" where there is none.
    """

    text: str
    tool: str = ""
    argument: str = ""


def parse_step(written: str) -> Step:
    """The first action of what a model wrote, however roughly it keeps to the form."""
    cut = _OBSERVATION.search(written)
    text = written[: cut.start()].strip() if cut else written.strip()
    action = _ACTION.search(text)
    if action:
        call = _CALL.match(action["call"].strip())
        kept = text[: action.end()]
        if call is None:  # a bare name, such as "finish"
            return Step(kept, action["call"].strip("`*. ").lower())
        return Step(kept, call["tool"].lower(), _argument(action["call"].strip(), call))
    final = _FINAL.search(text)
    return Step(text[: final.end()], "finish", final["answer"].strip()) if final else Step(text)


def _argument(line: str, call: re.Match[str]) -> str:
    """What stands between the brackets; all that follows where they are not closed."""
    opening = line[call.end("tool") :].lstrip(" \t")[:1]
    inner = call["argument"].strip().rstrip("`* ")
    depth, closing = 1, _CLOSING.get(opening)
    for place, character in enumerate(inner):
        depth += (character == opening) - (character == closing)
        if depth == 0:
            inner = inner[:place]
            break
    return inner.strip().strip("\"'").strip()


@dataclass
class _Run:
    """One question on its way to an answer."""

    question: str
    messages: list[Message]
    seen: list[Context] = field(default_factory=list)
    rows: list[Chunk] = field(default_factory=list)
    calculated: bool = False
    usages: list[Usage] = field(default_factory=list)
    unclear: int = 0
    answer: str | None = None
    given_up: str = ""

    @property
    def over(self) -> bool:
        return self.answer is not None or bool(self.given_up)


class React:
    """Acts step by step, then answers.

    Args:
        setup: the project.
    """

    name = "react"

    def __init__(self, setup: Setup) -> None:
        own = setup.config.answer
        self.description = f"at most {own.steps} steps of thought and action: search, table look-up, calculator"
        self._setup, self._backend = setup, setup.backend()
        self._tables = Tables(setup)
        self._tools: dict[str, Callable[[_Run, str], str]] = {
            "search": self._search,
            "lookup": self._lookup,
            "calculate": self._calculate,
        }

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers, a step of each at a time; the steps are their transcripts."""
        prompt, own = self._setup.prompt("react"), self._setup.config.answer
        runs = [_Run(q, prompt.messages(question=q)) for q in map(question_of, conversations)]
        for _ in range(own.steps):
            going = [run for run in runs if not run.over]
            if not going:
                break
            written = self._backend.generate_batch([r.messages for r in going], max_tokens=own.reasoning_tokens)
            for run, generation in zip(going, written, strict=True):
                run.usages.append(generation.usage)
                self._step(run, generation.text)
        for run in runs:
            if not run.over:
                run.given_up = f"no answer after {own.steps} steps"
        ends = dict(zip([n for n, r in enumerate(runs) if r.answer is None], self._last_words(runs), strict=True))
        return [ends.get(n) or self._finished(run) for n, run in enumerate(runs)]

    def _step(self, run: _Run, written: str) -> None:
        step = parse_step(written)
        run.messages.append(Message("assistant", step.text))
        tool = _TOOLS.get(step.tool, "")
        if tool == "finish" and step.argument:
            run.answer = step.argument
            return
        if tool in self._tools:
            run.unclear = 0
            observed = self._tools[tool](run, step.argument)
        else:
            run.unclear += 1
            names = ", ".join([*self._tools, "finish"])
            observed = f"There is no action {step.tool!r}. Actions: {names}." if step.tool and not tool else _HELP
            if run.unclear >= UNCLEAR:
                run.given_up = f"{UNCLEAR} steps running without an action"
        run.messages.append(Message("user", f"Observation: {observed}"))

    def _search(self, run: _Run, words: str) -> str:
        if not words:
            return "Write search[words] with the words to search for."
        context = find(self._setup, self._backend, [words], plain=True)[0]
        run.seen.append(context)
        return self._short(context.text) or "Nothing was found."

    def _lookup(self, run: _Run, argument: str) -> str:
        chunks, note = self._tables.lookup(argument)
        if chunks:
            run.seen.append(_as_context(run.question, chunks))
            run.rows += [c for c in chunks if c not in run.rows]
        rows = [numbered(n, c.document, c.page, c.text) for n, c in enumerate(chunks, 1)]
        return self._short("\n".join([*rows, *([note] if note else [])]))

    def _calculate(self, run: _Run, expression: str) -> str:
        try:
            value = calculate(expression)
            run.calculated = True
            return value
        except CalculationError as error:
            return f"Cannot calculate: {error}."

    def _short(self, text: str) -> str:
        """An observation that leaves room for the others: lines until a share of the model's context is full."""
        left = max(48, self._backend.context_tokens // (2 * self._setup.config.answer.steps))
        lines: list[str] = []
        for line in text.splitlines():
            left -= self._backend.count_tokens(line)
            if left < 0 and lines:
                return "\n".join([*lines, "(shortened)"])
            lines.append(line)
        return "\n".join(lines)

    def _last_words(self, runs: Sequence[_Run]) -> list[Completion]:
        """Answers of the runs that came to none: from what they saw, or from a search for the question."""
        left = [run for run in runs if run.answer is None]
        blank = [run for run in left if not run.seen]
        for run, context in zip(blank, find(self._setup, self._backend, [r.question for r in blank]), strict=True):
            run.seen.append(context)
        contexts = [merged(run.question, run.seen) for run in left]
        prompts = [with_passages(self._setup, context) for context in contexts]
        written = self._backend.generate_batch(prompts, max_tokens=self._setup.config.answer.max_tokens)
        out = []
        for run, context, generation in zip(left, contexts, written, strict=True):
            run.messages.append(Message("user", f"({run.given_up}: answered from the passages)"))
            made = answered(
                self._setup, context, generation.text, generation, usage=together([*run.usages, generation.usage])
            )
            out.append(replace(made, transcript=transcript(run.messages)))
        return out

    def _finished(self, run: _Run) -> Completion:
        made = answered(self._setup, merged(run.question, run.seen), run.answer or "", usage=together(run.usages))
        if run.calculated and not made.sources and not made.abstained:
            # no passage says what was worked out: it rests on the rows that it was worked out from
            rested = tuple(to_source(Hit(c, 1.0, ()), c.text) for c in run.rows)
            made = replace(made, sources=rested)
        return replace(made, transcript=transcript(run.messages))


def transcript(messages: Sequence[Message]) -> str:
    """The question and every step behind it."""
    return "\n".join(m.content for m in messages if m.role != "system")


def _as_context(question: str, chunks: Sequence[Chunk]) -> Context:
    """Table rows as what was found for a question."""
    hits = tuple(Hit(c, 1.0, ((c.text, 1.0),)) for c in chunks)
    return Context(question, hits, tuple(Sentence(c.text, c, 1.0, n, 0) for n, c in enumerate(chunks)))


def build(setup: Setup) -> System:
    """The System ``react``.

    Raises:
        MissingArtifactError: no index; said before a model is loaded.
    """
    _ = setup.retriever
    return React(setup)

"""A hint of keywords beside the question (directional stimulus prompting, Li et al. 2023).

Li et al., "Guiding Large Language Models via Directional Stimulus Prompting" (NeurIPS 2023). There a small tuned model
writes the hint; here it is counted: the kinds of answer (number, date, name, word) that training questions with the same
question word have, and keywords of those kinds. Closed book they come from the answers to the nearest training questions,
in ``directional_stimulus+rag`` from the retrieved sentences, words of the question left out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from groundtune.dataset.prompts import abstains
from groundtune.dataset.reading import STOP_WORDS
from groundtune.methods._context import Context, all_answered, find, unless_refused
from groundtune.methods._setup import Setup
from groundtune.methods.few_shot_nearest import Nearest
from groundtune.records import Completion, Example, Generation, Message
from groundtune.retrieval.retriever import names_in
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("questions",)

#: keywords in a hint
KEYWORDS = 4
#: training questions whose answers are looked at, closed book
NEAREST = 5
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(
    rf"\b(?:\d{{1,2}} )?(?:{_MONTH})\b(?: \d{{4}})?|\b\d{{1,2}}[:.]\d{{2}}\b|\b(?:19|20)\d\d\b|\b\w+day\b"
)
_NUMBER = re.compile(r"(?<!\w)[£$€]?\d[\d,.]*\d?%?(?: [a-z]{2,})?")
_ASKS = re.compile(r"\b(how (?:many|much|long|old|far|often)|when|who|whom|whose|where|which \w+|what \w+|why|how)\b", re.IGNORECASE)  # fmt: skip


def kind_of(text: str) -> str:
    """date, number, name or word."""
    if _DATE.search(text):
        return "date"
    if any(c.isdigit() for c in text):
        return "number"
    return "name" if text[:1].isupper() else "word"


def asks_for(question: str) -> str:
    """The words by which a question says what it asks for: "how many", "when", "which day"."""
    found = _ASKS.search(question)
    return found[0].lower() if found else ""


def keywords(text: str) -> list[str]:
    """Dates, numbers with their unit, names and content words of a text, in that order, each once."""
    found: list[str] = []
    for words in (m[0] for pattern in (_DATE, _NUMBER) for m in pattern.finditer(text)):
        found.append(words.strip(" .,"))
    found += names_in(text)
    found += [w for w in re.findall(r"[^\W\d_][\w'-]{2,}", text) if w.lower() not in STOP_WORDS]
    return list(dict.fromkeys(w for w in found if w))


class Policy:
    """Which keywords make a hint, counted on training questions.

    Args:
        examples: the training questions.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        self._all: Counter[str] = Counter()
        self._of: dict[str, Counter[str]] = defaultdict(Counter)
        for example in examples:
            kind, asked = kind_of(example.references[0]), asks_for(example.question)
            self._all[kind] += 1
            for words in {asked, asked.partition(" ")[0]}:
                self._of[words][kind] += 1

    def share(self, question: str, kind: str) -> float:
        """How often such a question has such an answer: 0 to 1, smoothed by the kinds of all answers."""
        asked = asks_for(question)
        counts = self._of.get(asked) or self._of.get(asked.partition(" ")[0]) or Counter()
        total = max(1, self._all.total())
        prior = (self._all[kind] + 1) / (total + 4)
        return (counts[kind] + 2 * prior) / (counts.total() + 2)

    def hint(self, question: str, texts: Sequence[str]) -> str:
        """The likeliest keywords of texts, those of earlier texts first among equals; "" where there are none."""
        asked = set(re.findall(r"\w+", question.lower()))
        scored: dict[str, float] = {}
        for rank, text in enumerate(texts):
            for word in keywords(text):
                if set(re.findall(r"\w+", word.lower())) - asked:
                    scored.setdefault(word, self.share(question, kind_of(word)) / (1 + rank))
        chosen: list[str] = []
        for word in sorted(scored, key=lambda w: -scored[w]):
            if not any(word in other for other in chosen):
                chosen.append(word)
            if len(chosen) == KEYWORDS:
                break
        return "; ".join(chosen)


class DirectionalStimulus:
    """Answers with a hint beside the question.

    Args:
        name: ``directional_stimulus`` or ``directional_stimulus+rag``.
        setup: the project.
        search: whether the hint comes from passages, which it reads too.
    """

    def __init__(self, name: str, setup: Setup, *, search: bool) -> None:
        self.name = name
        source = "retrieved sentences" if search else "the answers to the nearest training questions, no documents"
        self.description = f"a hint of {KEYWORDS} keywords from {source}"
        self._setup, self._search, self._backend = setup, search, setup.backend()
        training = setup.training_examples() if setup.questions_path.exists() else []
        self._policy = Policy(training)
        self._nearest = None if search else Nearest(setup, training)

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers; the hint is their transcript."""
        questions, tokens = [question_of(c) for c in conversations], self._setup.config.answer.max_tokens
        if self._nearest is not None:
            prompt = self._setup.prompt("directional_stimulus")
            near = [self._nearest.find(q, NEAREST)[::-1] for q in questions]
            hints = [
                self._policy.hint(q, [e.references[0] for e in found]) for q, found in zip(questions, near, strict=True)
            ]
            asked = [prompt.messages(question=q, hint=h or "none") for q, h in zip(questions, hints, strict=True)]
            written = self._backend.generate_batch(asked, max_tokens=tokens)
            return [
                Completion(g.text, abstains(g.text), logprobs=g.logprobs, usage=g.usage, transcript=f"hint: {h}")
                for g, h in zip(written, hints, strict=True)
            ]
        prompt = self._setup.prompt("directional_stimulus_with_passages")
        contexts = find(self._setup, self._backend, questions)

        def hint(context: Context) -> str:
            return self._policy.hint(context.question, [s.text for s in context.sentences])

        def generate(asked: list[Context]) -> list[Generation]:
            prompts = [prompt.messages(question=c.question, passages=c.text, hint=hint(c) or "none") for c in asked]
            return self._backend.generate_batch(prompts, max_tokens=tokens)

        made = all_answered(self._setup, contexts, unless_refused(contexts, generate))
        return [replace(m, transcript=f"hint: {hint(c)}") for c, m in zip(contexts, made, strict=True)]


def build(setup: Setup) -> System:
    """The System ``directional_stimulus``."""
    return DirectionalStimulus("directional_stimulus", setup, search=False)


def build_with_rag(setup: Setup) -> System:
    """The System ``directional_stimulus+rag``.

    Raises:
        MissingArtifactError: no index.
    """
    _ = setup.retriever
    return DirectionalStimulus("directional_stimulus+rag", setup, search=True)

"""A System behind guards: what is asked and what is answered goes through a policy's rules; what it retrieves, through its retriever.

``stream`` does not exist on Systems, so an answer is whole before it is looked at; the server streams a guarded System's answer
once the guards have seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from groundtune.config import GuardConfig
from groundtune.dataset.prompts import ABSTENTION
from groundtune.dataset.reading import sentences as split_sentences
from groundtune.guardrails.answers import follows, foreign_addresses, grounded, leaked
from groundtune.guardrails.classifier import open_classifier
from groundtune.guardrails.log import record
from groundtune.guardrails.passages import order_scores
from groundtune.guardrails.policy import hooks_of, refusal, threshold
from groundtune.guardrails.readings import readings
from groundtune.guardrails.secrets import find_secrets, without
from groundtune.guardrails.toxicity import toxicity
from groundtune.ingest.redact import Finding, find
from groundtune.records import Completion, Message
from groundtune.system import System, question_of

_INPUT = ("input_injection", "input_personal_data", "input_off_topic", "input_toxic")


class Guarded:
    """A System whose questions and answers are guarded.

    Args:
        system: what answers.
        policy: which rules look.
        nearness: similarity of a question to the nearest document, for ``input_off_topic``; None: that rule does not look.
        instructions: what no answer may repeat, beside the system messages of the conversation.
    """

    def __init__(
        self,
        system: System,
        policy: GuardConfig,
        nearness: Callable[[str], float] | None = None,
        instructions: Sequence[str] = (),
    ) -> None:
        self.unguarded, self.policy, self._instructions = system, policy, tuple(instructions)
        self.name, self.description = system.name, system.description
        self._nearness, self._hooks = nearness, hooks_of(policy.classifiers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message, or refuse and say why."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers; what is refused is not asked."""
        checked = [self._ask(c) for c in conversations]
        asked = [c for c in checked if not isinstance(c, str)]
        written = iter(self.unguarded.answer_batch(asked) if asked else [])
        return [
            Completion(refusal(c), abstained=True) if isinstance(c, str) else self._checked(next(written), c)
            for c in checked
        ]

    def _ask(self, messages: Sequence[Message]) -> Sequence[Message] | str:
        """The conversation as it may be asked, or the rule that refuses it."""
        policy, question = self.policy, question_of(messages)
        for rule in (name for name in _INPUT if getattr(policy, name)):
            if rule == "input_personal_data":
                continue
            score = self._input_score(rule, question)
            if score >= threshold(policy, rule):
                record(policy, rule, getattr(policy, rule), question, score)
                if getattr(policy, rule) == "refuse":
                    return rule
        for hook in self._hooks:
            if (score := hook.score(question, "input")) >= threshold(policy, hook.name):
                record(policy, hook.name, "refuse", question, score)
                return hook.name
        if policy.input_personal_data and (found := find(question)):
            record(policy, "input_personal_data", policy.input_personal_data, question, 1.0)
            if policy.input_personal_data == "refuse":
                return "input_personal_data"
            if policy.input_personal_data == "redact":
                last = max(n for n, m in enumerate(messages) if m.role == "user")
                return [
                    replace(m, content=_redacted(m.content, found)) if n == last else m for n, m in enumerate(messages)
                ]
        return messages

    def _input_score(self, rule: str, question: str) -> float:
        if rule == "input_injection":
            return max(open_classifier("injection").score(list(readings(question))))
        if rule == "input_toxic":
            return toxicity(question)
        return 1.0 - self._nearness(question) if self._nearness else 0.0

    def _checked(self, completion: Completion, messages: Sequence[Message]) -> Completion:
        """The answer as it may go out."""
        if completion.text.strip() in ("", ABSTENTION):
            return completion
        texts = [s.text for s in (*completion.retrieved, *completion.sources)] + [s.quote for s in completion.sources]
        parts = list(dict.fromkeys(p for t in texts for p in split_sentences(t)))
        scores = order_scores([parts])[0] if parts and self.policy.output_followed else [0.0] * len(parts)
        text = completion.text
        for rule, action, score, spans in self._found(text, parts, scores, messages):
            record(self.policy, rule, action, text, score)
            if action == "refuse":
                return replace(
                    completion,
                    text=refusal(rule),
                    abstained=True,
                    sources=(),
                    statements=(),
                    transcript="",
                    logprobs=(),
                )
            if action == "redact":
                text = without(text, spans, "[redacted]")
        if text == completion.text:
            return completion
        whole = tuple(s for s in completion.statements if s.text in text)  # what was redacted stands in none of them
        return replace(completion, text=text, statements=whole, transcript="", logprobs=())

    def _found(
        self, text: str, parts: Sequence[str], scores: Sequence[float], messages: Sequence[Message]
    ) -> list[tuple[str, str, float, list[tuple[int, int]]]]:
        """(rule, action, score, where) of the first rule that refuses, or of all that do not; redactions from the end on."""
        policy = self.policy
        odd = threshold(policy, "output_followed")
        clean = [p for p, s in zip(parts, scores, strict=True) if s < odd]
        asked = [m.content for m in messages if m.role == "user"]
        prompts = [*self._instructions, *(m.content for m in messages if m.role in ("system", "developer"))]
        checks: dict[str, Callable[[], tuple[float, list[tuple[int, int]]]]] = {
            "output_followed": lambda: (follows(text, parts, scores, question_of(messages), odd), []),
            "output_system_prompt": lambda: (leaked(text, prompts), []),
            "output_ungrounded": lambda: (1.0 - grounded(text, clean) if parts else 0.0, []),
            "output_toxic": lambda: (toxicity(text), []),
            "output_secrets": lambda: _spans(find_secrets(text)),
            "output_links": lambda: _spans(foreign_addresses(text, [*clean, *asked]) if parts else []),
            "output_personal_data": lambda: _spans([(f.start, f.end) for f in find(text)]),
        }
        found = []
        for rule, check in checks.items():
            action = getattr(policy, rule)
            if not action:
                continue
            score, spans = check()
            if score > 0 and score >= threshold(policy, rule):
                found.append((rule, str(action), score, spans))
        for hook in self._hooks:
            if (score := hook.score(text, "output")) >= threshold(policy, hook.name):
                found.append((hook.name, "refuse", score, []))
        refusing = [f for f in found if f[1] == "refuse"]
        if refusing:
            return refusing[:1]
        spans = _merged([s for _, action, _, where in found if action == "redact" for s in where])
        redacting = [f for f in found if f[1] == "redact"]
        return [(r, a, s, spans if n == 0 else []) for n, (r, a, s, _) in enumerate(redacting)] + [
            f for f in found if f[1] == "flag"
        ]


def _spans(spans: list[tuple[int, int]]) -> tuple[float, list[tuple[int, int]]]:
    return float(bool(spans)), spans


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _redacted(text: str, found: Sequence[Finding]) -> str:
    for finding in reversed(found):
        text = f"{text[: finding.start]}[{finding.kind}]{text[finding.end :]}"
    return text

"""Search for better settings: arms are compared on the same training questions, fewer arms on more and more of them.

Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016; Li et al., "Hyperband", JMLR 2018) with questions as the resource, whole facts at a time. Departs from it:
first what is found is scored, which asks no model, and only the arms that are left answer; the current settings stay to the
end; after a stage's first round the single changes that helped join in one more arm; and the winner is chosen on training
questions that the halving never saw, because the best of many is chosen for its luck as well (the winner's curse). Each
change of the winner that does not help there is put back. What is left out for want of time is written down.

Leaves out what an arm is made of (a builder is passed in) and what the winner is worth (``search_worth``).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from groundtune import registry
from groundtune.config import OptimizeConfig
from groundtune.errors import InputError
from groundtune.evaluation.search_journal import Journal
from groundtune.evaluation.search_space import CURRENT, Arm, Space, arm_of, first_arms, joined, stage_of
from groundtune.records import Example
from groundtune.system import System, as_messages

#: least facts among the training questions: two to search with and two to choose by
FACTS = 4
#: questions of the first round at least, and least questions with a passage for a stage that scores what is found
FIRST, WITH_PASSAGE = 8, 2
#: measured of every answer, beside the metrics that have a weight
METRICS = ("token_f1", "exact_match", "supported", "abstention_accuracy", "recall_at_5", "mrr")
#: share of the time before the choice that the first stage may take; most of the budget that the choice and the report may take
FIRST_STAGE, CHOICE, REPORT = 0.5, 0.15, 0.35
#: of a round's time, most that new indexes are planned with
INDEXES = 0.7

#: (done, in all, note)
Progress = Callable[[int, int, str], None]


class Builder(Protocol):
    """Makes arms into systems; every arm's index on first use."""

    def index_seconds(self, arm: Arm) -> float:
        """About how long making the arm's index would take; 0 where it is there."""
        ...

    def make_index(self, arm: Arm) -> Mapping[str, float]:
        """Make the arm's index; returns figures to show."""
        ...

    def finder(self, arm: Arm) -> System:
        """A system that says nothing and shows what it found."""
        ...

    def answerer(self, arm: Arm) -> System:
        """The system with the arm's settings, with questions embedded once for all arms."""
        ...

    def plain(self, arm: Arm) -> System:
        """The system as a user would have it, to time."""
        ...


@dataclass(frozen=True)
class Questions:
    """The questions of a search.

    Attributes:
        search: training questions that the rounds ask, facts in the seed's order.
        validation: training questions kept back to choose the winner.
    """

    search: list[Example]
    validation: list[Example]


@dataclass
class Outcome:
    """What a search came to.

    Attributes:
        winner, score: the arm to be reported on, and its score on the validation questions.
        rounds: stage, number of questions, arms with their scores.
        validation: the arms that were left, with their scores there, best first.
        put_back: changes of the best arm that did not help on the validation questions.
        chosen_on: validation questions that were asked.
        not_tried: arm and reason.
    """

    winner: Arm = CURRENT
    rounds: list[dict[str, Any]] = field(default_factory=list)
    validation: list[tuple[Arm, float]] = field(default_factory=list)
    score: float = 0.0
    chosen_on: int = 0
    put_back: list[tuple[str, Any]] = field(default_factory=list)
    not_tried: list[tuple[Arm, str]] = field(default_factory=list)


def divide(examples: Sequence[Example], share: float, seed: int, where: str) -> Questions:
    """Training questions to search with and to choose by, whole facts; a split ``validation`` is chosen by where there is one.

    Raises:
        InputError: too few facts.
    """
    train = [e for e in examples if e.split == "train"]
    given = [e for e in examples if e.split == "validation"]
    facts = sorted({e.fact for e in train})
    if len(facts) < FACTS:
        raise InputError(
            f"{where}: {len(train)} questions about {len(facts)} facts in the split 'train'",
            expected=f"questions about at least {FACTS} facts to choose settings by; a hundred questions to tell them apart",
            next_step='add rows with "split": "train", or groundtune dataset build makes some from the documents',
        )
    random.Random(seed).shuffle(facts)
    back = set() if given else set(facts[: min(len(facts) - 2, max(2, round(share * len(facts))))])
    place = {fact: n for n, fact in enumerate(facts)}
    search = sorted((e for e in train if e.fact not in back), key=lambda e: place[e.fact])
    return Questions(search, given or [e for e in train if e.fact in back])


def first_facts(examples: Sequence[Example], count: int) -> list[Example]:
    """The first questions, at least ``count`` where there are so many, with all questions of their facts."""
    facts: dict[str, None] = {}
    for n, example in enumerate(examples):
        if n >= count and example.fact not in facts:
            break
        facts[example.fact] = None
    return [e for e in examples if e.fact in facts]


def question_score(values: Mapping[str, float], weights: Mapping[str, float], example: Example) -> float:
    """How good one answer is, 0 to 1 (times its weight without an answer): the weighted mean of the metrics it has values for."""
    if not example.answerable:
        return weights.get("abstention_accuracy", 0.0) * values.get("abstention_accuracy", 0.0)
    used = {m: w for m, w in weights.items() if m in values and m != "abstention_accuracy"}
    total = sum(used.values())
    return sum(w * values[m] for m, w in used.items()) / total if total else 0.0


class Search:
    """One search within a budget.

    Args:
        builder: makes arms into systems.
        journal: what is known already.
        questions: see :func:`divide`.
        space: setting -> values other than the current one.
        config: of the search.
        seed: of everything drawn.
        progress: told after every measurement, or None.
        clock: seconds, ever growing.
    """

    def __init__(
        self,
        builder: Builder,
        journal: Journal,
        questions: Questions,
        space: Space,
        config: OptimizeConfig,
        *,
        seed: int,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.builder, self.journal, self.questions, self.space = builder, journal, questions, space
        self.config, self.seed, self.progress, self.clock = config, seed, progress, clock
        self.outcome = Outcome()
        self._started = clock() - journal.seconds
        self._systems: dict[tuple[str, str], System] = {}

    def left(self) -> float:
        """Seconds of the budget that are left, an earlier process's counted."""
        return self.config.minutes * 60 - (self.clock() - self._started)

    def run(self, held_out: int) -> Outcome:
        """Search and choose; ``held_out`` is how many questions the report will ask."""
        search, validation = self.questions.search, self.questions.validation
        self.measure("answers", CURRENT, first_facts(search, FIRST))  # the speed that the rest is planned by
        total, seconds_for = self.config.minutes * 60, self.journal.seconds_for
        held = min(seconds_for("answers", 5 * held_out), REPORT * total)
        report = held + min(seconds_for("answers", (self.config.keep + 2) * len(validation)), CHOICE * total)
        with_passage = [e for e in search if e.passages]
        staged = {n: v for n, v in self.space.items() if stage_of(n) != "answer"}
        left = [CURRENT]
        if staged and len(with_passage) >= WITH_PASSAGE:
            until = self.left() - (self.left() - report) * FIRST_STAGE
            self.measure("found", CURRENT, first_facts(with_passage, FIRST))
            arms = first_arms(staged, [CURRENT], self.config.arms, self.seed)
            left = self.halve("found", arms, [CURRENT], with_passage, until)
            staged = {n: v for n, v in self.space.items() if stage_of(n) == "answer"}
        else:
            staged = self.space
        arms = first_arms(staged, left, max(self.config.arms, len(left)), self.seed + 1)
        left = self.halve("answers", arms, left, search, report)
        self.choose(left, held)
        return self.outcome

    def halve(
        self, part: str, arms: Sequence[Arm], bases: Sequence[Arm], pool: Sequence[Example], until: float
    ) -> list[Arm]:
        """The best arms of a stage, at most ``keep``, the current settings among them.

        Args:
            part: ``found`` or ``answers``.
            bases: those of the arms that an earlier stage left; what helps is joined to the best of them.
            pool: questions of the last round; the rounds before ask the first of them.
            until: seconds of the budget that have to be left.
        """
        eta, keep = self.config.eta, self.config.keep
        rounds = max(1, math.ceil(math.log(max(1.0, len(arms) / keep), eta)))
        left = [CURRENT, *sorted((a for a in arms if a != CURRENT), key=lambda a: bool(a.part("index").items))]
        for turn in range(rounds):
            most = max(FIRST, math.ceil(len(pool) / eta ** (rounds - 1 - turn)))
            asked = first_facts(pool, self._count(f"{part}, round {turn + 1}", part, left, most, rounds - turn, until))
            scores = self._round(part, left, asked, until)
            if turn == 0:
                more = joined(scores, max((a for a in bases if a in scores), key=lambda a: scores[a]))
                scores |= self._round(part, [more], asked, until) if more not in scores else {}
            left = self._best(scores, max(keep, math.ceil(len(left) / eta)) if turn < rounds - 1 else keep)
            rows = [{"changes": a.changes, "score": s, "kept": a in left} for a, s in scores.items()]
            self.outcome.rounds.append({"part": part, "questions": len(asked), "arms": rows})
        return left

    def _count(self, what: str, part: str, arms: Sequence[Arm], most: int, rounds: int, until: float) -> int:
        """How many questions a round asks: ``most``, or an equal share of the time for each arm and each round to come.

        That is the budget of successive halving, B / (arms x rounds). What the time decided is written down.
        """
        known = self.journal.decided(what)
        if known is None:
            each, spare = self.journal.seconds_for(part, 1), self.left() - until
            indexes: dict[Arm, float] = {}  # those that there is time for
            for arm in arms:
                seconds = self.builder.index_seconds(arm)
                if sum(indexes.values()) + seconds <= spare * INDEXES:
                    indexes[arm.part("index")] = seconds
            asked = sum(a.part("index") in indexes for a in arms)
            spare = (spare - sum(indexes.values())) / rounds
            known = min(most, max(FIRST, int(spare / (each * max(1, asked))))) if each else most
            self.journal.decide(what, known)
        return known

    def _round(self, part: str, arms: Sequence[Arm], asked: Sequence[Example], until: float) -> dict[Arm, float]:
        scores: dict[Arm, float] = {}
        for arm in arms:
            if self.affords(part, arm, asked, until):
                scores[arm] = self.score(part, arm, asked)
        return scores

    @staticmethod
    def _best(scores: Mapping[Arm, float], count: int) -> list[Arm]:
        """The best arms, of equals those with fewer changes; the current settings always, first."""
        order = sorted(scores, key=lambda a: (-round(scores[a], 9), len(a.items)))[:count]
        rest = [a for a in order if a != CURRENT]
        return [CURRENT, *rest[: count - 1]]

    def affords(self, part: str, arm: Arm, asked: Sequence[Example], until: float) -> bool:
        """Whether there is time for an arm; if not, that is written down. The current settings are always asked."""
        why = self.journal.left_out(f"{part}:{len(asked)}", arm)
        missing = len(self.journal.missing(part, arm, [e.id for e in asked]))
        if why is None and missing and arm != CURRENT:
            needed = self.builder.index_seconds(arm) + self.journal.seconds_for(part, missing)
            spare = self.left() - until
            if needed > spare or spare <= 0:
                why = f"needs about {needed:.0f} s; {max(0.0, spare):.0f} s were left for it"
                self.journal.leave_out(f"{part}:{len(asked)}", arm, why)
        if why is not None:
            self.outcome.not_tried.append((arm, why))
        return why is None

    def measure(self, part: str, arm: Arm, examples: Sequence[Example]) -> None:
        """Ask an arm the questions that it was not asked yet, and write down the values."""
        missing = self.journal.missing(part, arm, [e.id for e in examples])
        asked = [e for e in examples if e.id in missing]
        if asked:
            system = self.system(part, arm)
            names = [*METRICS, *self.config.retrieval_weights, *self.config.answer_weights]
            metrics = {name: registry.get("metrics", name) for name in names}
            for begin in range(0, len(asked), 64):
                batch = asked[begin : begin + 64]
                since = self.clock()
                completions = system.answer_batch([as_messages(e.question) for e in batch])
                for metric in metrics.values():
                    if hasattr(metric, "prepare"):
                        metric.prepare(completions, batch)
                values = {
                    e.id: {name: metric.score(c, e) for name, metric in metrics.items()}
                    for e, c in zip(batch, completions, strict=True)
                }
                self.journal.add(part, arm, values, self.clock() - since)
        self._tell(f"{part}: {arm}")

    def _tell(self, note: str) -> None:
        if self.progress:
            total = self.config.minutes * 60
            self.progress(round(total - max(0.0, self.left())), round(total), note)

    def system(self, part: str, arm: Arm) -> System:
        """The arm's system, with its index made; the last few stay open."""
        key = (part, arm.key)
        if key not in self._systems:
            index = arm.part("index")
            if self.builder.index_seconds(arm) > 0:
                self._tell(f"index: {index}")
                since = self.clock()
                self.journal.add_index(index, self.builder.make_index(arm), self.clock() - since)
            while len(self._systems) >= 2 * self.config.keep:
                del self._systems[next(iter(self._systems))]
            build = {"found": self.builder.finder, "answers": self.builder.answerer}.get(part, self.builder.plain)
            self._systems[key] = build(arm)
        return self._systems[key]

    def scores(self, part: str, arm: Arm, examples: Sequence[Example]) -> dict[str, float]:
        """Question id -> how good; what was to be found and was not counts 0."""
        weights = self.config.retrieval_weights if part == "found" else self.config.answer_weights
        by_metric = self.journal.values(part, arm, [e.id for e in examples])
        of = {e.id: {m: v[e.id] for m, v in by_metric.items() if e.id in v} for e in examples}
        return {e.id: question_score(of[e.id], weights, e) for e in examples}

    def score(self, part: str, arm: Arm, examples: Sequence[Example]) -> float:
        """The mean over questions, measured now where it has to be."""
        self.measure(part, arm, examples)
        values = self.scores(part, arm, examples)
        return sum(values.values()) / len(values)

    def choose(self, left: Sequence[Arm], until: float) -> None:
        """The winner: best on the validation questions (of equals, on the rounds'), without the changes that do not help.

        Args:
            until: seconds of the budget that have to be left for the report.
        """
        most = len(self.questions.validation)
        asked = first_facts(self.questions.validation, self._count("choice", "answers", left, most, 1, until))
        scores = {a: self.score("answers", a, asked) for a in left if self.affords("answers", a, asked, until)}
        before = {a: sum(self.scores("answers", a, self._asked_before(a)).values()) for a in scores}
        order = sorted(scores, key=lambda a: (-round(scores[a], 9), -round(before[a], 9), len(a.items)))
        self.outcome.chosen_on = len(asked)
        self.outcome.validation = [(a, scores[a]) for a in order]
        winner = order[0]
        for name, value in winner.items:
            if self._no_worse(winner.without(name), winner, asked, until):
                winner = winner.without(name)
                self.outcome.put_back.append((name, value))
        self.outcome.winner, self.outcome.score = winner, self.score("answers", winner, asked)

    def _asked_before(self, arm: Arm) -> list[Example]:
        """The questions of the rounds that an arm has answered."""
        search = self.questions.search
        missing = self.journal.missing("answers", arm, [e.id for e in search])
        return [e for e in search if e.id not in missing]

    def _no_worse(self, less: Arm, more: Arm, validation: Sequence[Example], until: float) -> bool:
        """Whether fewer changes do as well on the validation questions and, where they do exactly as well, on the others too."""
        for asked in (validation, self._asked_before(more)):
            if not asked:
                continue
            if not all(self.affords("answers", arm, asked, until) for arm in (less, more)):
                return False
            gain = self.score("answers", less, asked) - self.score("answers", more, asked)
            if abs(gain) > 1e-9:
                return gain > 0
        return True


def single_changes(outcome: Outcome, choices: Space) -> list[dict[str, Any]]:
    """What each value did alone, on the training questions of the largest round it was in, against the current settings there."""
    out = []
    for name, values in choices.items():
        for value in values:
            arm = arm_of({name: value})
            rounds = [r for r in outcome.rounds if any(row["changes"] == arm.changes for row in r["arms"])]
            if not rounds:
                continue
            scores = {arm_of(row["changes"]): row["score"] for row in rounds[-1]["arms"]}
            asked = {"part": rounds[-1]["part"], "questions": rounds[-1]["questions"]}
            out.append({"setting": name, "value": value, "difference": scores[arm] - scores[CURRENT], **asked})
    return out

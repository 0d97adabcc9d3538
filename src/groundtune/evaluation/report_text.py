"""Names, meanings and number formats of the comparison's report; what every page shares is in ``page/text.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from groundtune.page.text import DASH, MINUS, Record, esc, number, plain, record, records

CONTROLS: Final = frozenset({"most_frequent"})

ALL: Final = "all_answerable"

SPLITS: Final[dict[str, tuple[str, str]]] = {
    ALL: ("All answerable", "every question that the documents answer, all tests together"),
    "held_out_facts": ("New facts", "facts that were kept out of training"),
    "held_out_phrasings": ("New phrasings", "facts used in training, asked in words that were not"),
    "unanswerable": ("Unanswerable", "the documents do not hold the answer; saying so is right"),
}

METRICS: Final[dict[str, tuple[str, str]]] = {
    "exact_match": (
        "Exact match",
        "share of answers equal to the reference, apart from case, articles and punctuation",
    ),
    "token_f1": ("Token F1", "overlap of the answer's words with the reference: 1 is all of them and no others"),
    "rouge_l": ("ROUGE-L", "like token F1, but the words must come in the same order"),
    "rouge_1": ("ROUGE-1", "like token F1, with words reduced to their stems: for summaries"),
    "rouge_2": ("ROUGE-2", "like ROUGE-1, of pairs of words"),
    "chrf": ("chrF", "overlap of runs of one to six characters: for translations"),
    "bleu": ("BLEU", "overlap of runs of one to four words: for translations"),
    "supported": ("Supported", "share of answers with sources whose every word stands in one of those sources"),
    "abstention_accuracy": (
        "Abstention",
        "share of questions where the choice to answer or to decline was the right one",
    ),
    "faithfulness": (
        "Faithfulness",
        "share of an answer's sentences that one of its sources supports, by the support score",
    ),
    "citation_precision": ("Citations right", "share of the quoted sources that are a passage that is needed"),
    "citation_recall": ("Citations found", "share of the passages needed that a source quotes"),
    "answer_relevance": (
        "Relevance",
        "how close an answer is to its question in meaning; not whether it is right, and low for bare figures",
    ),
    "judge": ("Judge", "a language model's grade, from 0 to 1; it agreed with human labels closely enough"),
    "recall_at_1": ("Recall@1", "share of the passages needed that the search puts first"),
    "recall_at_5": ("Recall@5", "share of the passages needed that are among the first five found"),
    "recall_at_10": ("Recall@10", "share of the passages needed that are among the first ten found"),
    "recall_at_20": ("Recall@20", "share of the passages needed that are among the first twenty found"),
    "ndcg_at_10": ("nDCG@10", "like MRR, for all passages needed: what is found later counts less"),
    "context_precision": ("Context precision", "how far up the useful ones of the chunks found stand"),
    "mrr": ("MRR", "mean of 1 / rank of the first right passage: 1 when it always comes first"),
}

RETRIEVAL: Final = ("recall_at_1", "recall_at_5", "mrr", "ndcg_at_10")


@dataclass(frozen=True, slots=True)
class Page:
    """The parts of a result that most sections need."""

    result: Record
    systems: list[Record]
    splits: list[str]
    recommended: str | None

    def role(self, system: Record) -> str:
        """``recommended``, ``control``, ``baseline`` or ``plain``."""
        name = str(system.get("name"))
        if name == self.recommended:
            return "recommended"
        if name in CONTROLS:
            return "control"
        return "baseline" if name == "baseline" else "plain"

    @property
    def focus(self) -> str | None:
        """The system that all others are compared with: the recommended one, else the best of those that compete."""
        split = next(iter(self.splits), "")
        metric = headline_metric(self.systems, split)
        if self.recommended is not None or metric is None:
            return self.recommended
        rivals = [(mean_of(s, split, metric) or 0.0, str(s.get("name"))) for s in self.systems]
        return max((r for r in rivals if r[1] not in CONTROLS), default=(0.0, None), key=lambda rival: rival[0])[1]

    def size_of(self, split: str) -> float | None:
        """How many questions a split holds."""
        told = number(record(self.result.get("splits")).get(split))
        found = [number(record(e).get("n")) for s in self.systems for e in record(scores_of(s).get(split)).values()]
        return max((n for n in found if n is not None), default=None) if told is None else told


def scores_of(system: Record) -> Record:
    """Split -> metric -> score."""
    return record(system.get("scores"))


def metric_of(system: Record, split: str, metric: str) -> Record:
    """The mean, low, high and n of one metric; empty where it was not measured."""
    return record(record(scores_of(system).get(split)).get(metric))


def mean_of(system: Record, split: str, metric: str) -> float | None:
    """The mean of one metric, or None where it was not measured."""
    return number(metric_of(system, split, metric).get("mean"))


def split_names(result: Record) -> list[str]:
    """Splits that hold questions or scores, known ones first."""
    found = [name for name, size in record(result.get("splits")).items() if size]
    for system in records(result.get("systems")):
        found.extend(scores_of(system))
    found.extend(str(question.get("split")) for question in records(result.get("per_question")))
    return _known_first(found, SPLITS)


def metric_names(systems: Iterable[Record], split: str) -> list[str]:
    """Metrics that some system has in a split, known ones first."""
    return _known_first([name for s in systems for name in record(scores_of(s).get(split))], METRICS)


def headline_metric(systems: Sequence[Record], split: str) -> str | None:
    """The one metric that stands for a split in plots."""
    preferred = ["token_f1", "exact_match", "rouge_l", "abstention_accuracy"]
    if split == "unanswerable":
        preferred.insert(0, preferred.pop())
    for metric in preferred:
        if any(mean_of(system, split, metric) is not None for system in systems):
            return metric
    return None


def split_label(name: str) -> str:
    """What a reader sees for a split."""
    return SPLITS[name][0] if name in SPLITS else plain(name).capitalize()


def metric_label(name: str) -> str:
    """What a reader sees for a metric."""
    return METRICS[name][0] if name in METRICS else plain(name).capitalize()


def interval(entry: Record) -> str:
    """``0.65-0.77`` with an en dash; empty where there is no interval."""
    low, high = number(entry.get("low")), number(entry.get("high"))
    return "" if low is None or high is None else f"{low:.2f}\u2013{high:.2f}"


def signed(value: Any) -> str:
    """A difference with its sign, and a true minus."""
    known = number(value)
    return DASH if known is None else f"{known:+.2f}".replace("-", MINUS)


def p_value(value: Any) -> str:
    """A p-value with the equals or less-than sign."""
    known = number(value)
    if known is None:
        return f"p {DASH}"
    return "p < 0.001" if known < 0.001 else f"p = {known:.3f}" if known < 0.1 else f"p = {known:.2f}"


def place(source: Record) -> str:
    """``file, page 3`` as HTML."""
    page = source.get("page")
    shown = f"<cite>{esc(source.get('document') or 'unnamed document')}</cite>"
    return shown if page is None else f"{shown}, page {esc(page)}"


def _known_first(found: Iterable[str], known: Iterable[str]) -> list[str]:
    distinct = dict.fromkeys(found)
    return [name for name in known if name in distinct] + [name for name in distinct if name not in set(known)]

"""Reading exercises from plain text: a passage, questions about it, answers copied out of it.

A sentence becomes a question by taking out an answer (a number, a date, a name, a noun phrase, a reason) and turning
the rest into a noisy cloze question, as in Lewis, Denoyer and Riedel, "Unsupervised Question Answering by Cloze
Translation" (ACL 2019, section 2.3: identity and noisy clozes); departs from it by synonym replacement and by natural
wordings where a sentence is a definition or gives a reason. Questions about another passage serve as unanswerable.
Leaves out any parser: the grammar is rough, which is enough to teach a small model where to look.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from groundtune.dataset.invented import ReadingItem
from groundtune.dataset.prompts import ABSTENTION, with_passages
from groundtune.records import Message

STOP_WORDS = frozenset(
    "a an the of to in on at by for from with and or but is are was were be been being it its this that these those as "
    "has have had do does did not no he she they we you i his her their our your my which who whom whose what when "
    "where how why than then so if into over under after before about also can could may might will would shall should "
    "must there here all any some each such only more most other one".split()
)
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
#: (pattern whose group 1 is the answer, question words)
_ANSWERS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(rf"\b((?:\d{{1,2}} )?(?:{_MONTH})(?: \d{{1,2}},?)?(?: \d{{4}})?)\b"),
        ("when", "on what date", "what day"),
    ),
    (re.compile(r"\b(?:in|since|by|until|from) (1[5-9]\d\d|20\d\d)\b"), ("when", "in what year", "what year")),
    (
        re.compile(r"\b(\$?\d[\d,.]*\d? ?(?:percent|%|million|billion))"),
        ("how much", "what percentage", "how many", "what share"),
    ),
    (re.compile(r"(\$\d[\d,.]*\d(?: (?:million|billion))?)"), ("how much", "what amount")),
    (
        re.compile(r"\b((?:\d[\d,.]*\d|\d) (?:years?|months?|weeks?|days?|hours?|minutes?|seconds?))\b"),
        ("how long", "for how long", "what period"),
    ),
    (
        re.compile(r"\b((?:\d[\d,.]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty) [a-z]{3,})\b"),
        ("how many", "what number"),
    ),
    (re.compile(r"\bbecause (?:of )?([a-z][^,.;:()]{8,60})(?!\w)"), ("why", "for what reason")),
    (
        re.compile(r"\b(?:called|named|known as|termed) (?:the |an? )?([A-Za-z][\w'-]+(?: [A-Za-z][\w'-]+){0,2})"),
        ("what", "what name", "which"),
    ),
    (
        re.compile(r"\b(?:in|at|near|from|to|of) ((?:[A-Z][\w'-]+)(?: (?:of |the )?[A-Z][\w'-]+){0,3})"),
        ("where", "in which place", "which"),
    ),
    (re.compile(r"\bby ((?:[A-Z][\w'.-]+)(?: [A-Z][\w'.-]+){0,3})"), ("who", "by whom")),
    (
        re.compile(r"(?<=[a-z,] )((?:[A-Z][\w'.-]+)(?: (?:of |the |de |von )?[A-Z][\w'.-]+){1,3})"),
        ("who", "which", "what"),
    ),
    (re.compile(r"^((?:[A-Z][\w'-]+)(?: (?:of |the )?[A-Z][\w'-]+){1,3}) (?=[a-z])"), ("who", "which", "what")),
    (
        re.compile(
            r"\b(?:is|are|was|were|becomes?|means?) ((?:an?|the|one) [a-z][\w' -]{6,60}?)(?=[,.;:()]| that | which | who | and | in | for )"
        ),
        ("what",),
    ),
    (
        re.compile(
            r"\b(?:the|an?) ([a-z]{4,}(?: [a-z]{4,}){1,2})(?= (?:of|in|is|are|was|were|to|that|which|and|for|by|with)\b|[,.;])"
        ),
        ("what", "which", "what kind of thing"),
    ),
    (
        re.compile(
            r"\b(?:such as|including|include|includes|contains?|requires?|uses?|produces?|causes?) ([a-z][\w' -]{4,50}?)(?=[,.;:()])"
        ),
        ("what", "which"),
    ),
)
#: the first so many patterns find dates, amounts, reasons and names; the others any noun phrase
_TYPED = 12
_DEFINITION = re.compile(
    r"^(?:The |An? )?([A-Za-z][\w' -]{3,40}?) (?:is|are|refers to|means) ((?:an?|the|any) [a-z][^,.;:()]{6,70})(?!\w)"
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]“]*(\s+)(?=[A-ZÄÖÜ\"'(\[„])")
#: what stands before a full stop that ends no German sentence: an abbreviation; the day of a date, an ordinal after its article
_GERMAN_POINT = re.compile(
    r"(?<!\w)(?:[a-z]|[a-zü]\. ?[A-Za-z]|Nr|Abs|Art|Ziff|Kap|Anl|Abb|Tab|Dr|Prof|Hr|Fr|St|Str|Tel|bzw|ca|vgl|inkl|exkl|zzgl|"
    r"evtl|ggf|gem|sog|lt|max|min|mind|insb|einschl|vorm|nachm|ehem|jährl|monatl)$"
    r"|(?:\b(?i:am|vom|zum|im|der|die|das|dem|den|des|jeder|jedem|jeden|bis|ab|seit|und) |^)\d{1,2}$"
)
_GERMAN_DATE = re.compile(r"(?<!\d)\d{1,2}\. (?:Januar|Jänner|Februar|März|Mai|Juni|Juli|Oktober|Dezember)\b")
_GERMAN = re.compile(
    r"[äöüÄÖÜß]|\b(?:der|die|das|dem|den|des|und|oder|ist|sind|nicht|ein|eine|einer|einem|wird|werden|mit|von|zu|zum|zur|auf|"
    r"bei|nach|im|am|für|kostet|gilt|gelten|beträgt|muss|kann|siehe)\b"
)
_ENGLISH = re.compile(r"\b(?:the|of|and|or|to|is|are|for|with|by|at|on|be|this|that|it|from|as|was|must|may)\b")


def sentences(text: str) -> list[str]:
    """Sentences of a text, in order; line breaks also end one. In a German line no abbreviation or ordinal does."""
    found: list[str] = []
    for line in text.splitlines():
        start = 0
        for end in _SENTENCE_END.finditer(line):
            if _goes_on(line, end):
                continue
            found.append(line[start : end.start(1)].strip())
            start = end.end()
        found.append(line[start:].strip())
    return [s for s in found if s]


def _goes_on(line: str, end: re.Match[str]) -> bool:
    """True where the full stop belongs to a German abbreviation ("z. B. Hunde"), date ("1. Mai") or ordinal."""
    if line[end.start() : end.start(1)] != ".":
        return False
    before = line[max(0, end.start() - 16) : end.start()]
    if before[-1:].isdigit() and _GERMAN_DATE.match(line, end.start() - len(before) + len(before.rstrip("0123456789"))):
        return True
    return bool(_GERMAN_POINT.search(before)) and len(_GERMAN.findall(line)) > len(_ENGLISH.findall(line))


def cloze_question(sentence: str, rng: random.Random, synonyms: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """A question that the sentence answers and the answer, copied from it; None where nothing can be asked."""
    definition = _DEFINITION.match(sentence)
    if definition and rng.random() < 0.6:
        term, meaning = definition.groups()
        if len(term.split()) <= 4 and term.lower().split()[0] not in STOP_WORDS:
            form = rng.choice(("What is {}?", "What does {} mean?", "Define {}.", "What are {}?", "How is {} defined?"))
            return form.format(term), _short(meaning)
    found = [
        (m.start(1), m.end(1), words, rank)
        for rank, (pattern, words) in enumerate(_ANSWERS)
        for m in pattern.finditer(sentence)
    ]
    if not found:
        return None
    typed = [f for f in found if f[3] < _TYPED]  # dates, amounts, names: what people ask for most
    start, end, question_words, _ = rng.choice(typed if typed and rng.random() < 0.85 else found)
    answer = sentence[start:end].strip(" ,.;")
    left, right = sentence[:start].split(), sentence[end:].strip(" .").split()
    if not 1 <= len(answer.split()) <= 10 or answer.split()[-1].lower() in STOP_WORDS or len(left) + len(right) < 4:
        return None
    left, right = left[-14:], right[: max(4, 14 - len(left))]
    question = _worded(left, right, rng.choice(question_words), rng, synonyms)
    return (question, answer) if question else None


def _worded(
    left: list[str], right: list[str], wh: str, rng: random.Random, synonyms: Mapping[str, Sequence[str]]
) -> str | None:
    drop = rng.choice((0.0, 0.1, 0.3))

    def noised(words: list[str]) -> list[str]:
        out: list[str] = []
        for word in words:
            bare = word.strip(",;:()\"'").lower()
            if bare in STOP_WORDS:
                if rng.random() < drop:
                    continue
            elif rng.random() < drop / 2:
                continue
            elif bare in synonyms and rng.random() < 0.2:
                word = rng.choice(synonyms[bare])
            out.append(word)
        return out

    left, right = noised(left), noised(right)
    if left and left[0][:1].isupper() and left[0].lower() in STOP_WORDS:
        left[0] = left[0].lower()
    mode = rng.random()
    if mode < 0.45:
        words = [wh, *left, *right]
    elif mode < 0.65:
        words = [*left, wh, *right]
    elif mode < 0.8:
        words = [wh, *right, *left]
    else:
        content = [w for w in [*left, *right] if w.lower().strip(",;:()") not in STOP_WORDS]
        rng.shuffle(content)
        words = [wh, *content[: rng.randint(3, 6)]]
    if sum(w.lower().strip(",;:()") not in STOP_WORDS for w in words) < 3:
        return None
    text = " ".join(w.strip(',;:()"') for w in words if w.strip(',;:()"'))
    return text[0].upper() + text[1:] + "?"


def _short(answer: str, words: int = 12) -> str:
    return " ".join(answer.split()[:words])


def reading_items(
    texts: Iterator[str],
    *,
    synonyms: Mapping[str, Sequence[str]],
    seed: int,
    passage_words: tuple[int, int] = (30, 170),
    questions: int = 5,
) -> Iterator[ReadingItem]:
    """Passages cut from running text with up to ``questions`` questions each; one in six has no answer there."""
    rng = random.Random(seed)
    foreign: list[str] = []
    for text in texts:
        lines = sentences(text)
        at = 0
        while at < len(lines):
            wanted = rng.randint(*passage_words)
            passage: list[str] = []
            while at < len(lines) and sum(len(s.split()) for s in passage) < wanted:
                passage.append(lines[at])
                at += 1
            body = " ".join(passage)
            pairs: list[tuple[str, str | None]] = []
            for sentence in rng.sample(passage, len(passage)):
                pair = cloze_question(sentence, rng, synonyms) if 6 <= len(sentence.split()) <= 60 else None
                if pair and pair[1] in body:
                    pairs.append(pair)
                if len(pairs) == questions:
                    break
            if len(pairs) < 2:
                continue
            mine = rng.choice(pairs)[0]
            if foreign and rng.random() < 0.6:
                pairs.insert(rng.randint(0, len(pairs)), (rng.choice(foreign), None))
            foreign = [*foreign[-200:], mine]
            yield ReadingItem(body, tuple(pairs))


_FILES = "rules handbook guide notes minutes prices manual report terms list hours policy letter plan faq".split()


@dataclass(frozen=True, slots=True)
class Exercise:
    """One question with the text to answer it from; an answer of None is not in the text."""

    question: str
    passage: str
    answer: str | None

    def conversation(self) -> list[Message]:
        """The exercise as chat, worded as a System words it."""
        return [*with_passages([self.passage], self.question), Message("assistant", self.answer or ABSTENTION)]


def excerpt(
    item: ReadingItem, other: ReadingItem, pair: tuple[str, str | None], rng: random.Random, *, lines: tuple[int, int]
) -> Exercise | None:
    """A question behind as many sentences as ``lines`` allows, the one with the answer among them.

    Six in ten stand as retrieval brings them, single sentences each with a file and perhaps a page, one of another item
    now and then; the others are consecutive sentences, one to a line or running. None where no sentence holds the answer.
    """
    question, answer = pair
    own = _lines(item)
    places = [n for n, s in enumerate(own) if answer and answer in s]
    if not own or (answer and not places):
        return None
    count = rng.randint(*lines)
    if rng.random() < 0.4:
        at = places[0] if places else rng.randrange(len(own))
        first = max(0, min(at - rng.randrange(count), len(own) - count))
        return Exercise(question, rng.choice((" ", "\n")).join(own[first : first + count]), answer)
    needed = [own[places[0]]] if places else []
    rest = [s for s in own if s not in needed]
    chosen = [*needed, *rng.sample(rest, min(len(rest), count - len(needed)))]
    foreign = [s for s in _lines(other) if not (answer and answer in s)]
    if foreign and count > 1 and rng.random() < 0.5:
        chosen = [*chosen[: max(1, count - 1)], rng.choice(foreign)]
    rng.shuffle(chosen)
    return Exercise(question, "\n\n".join(f"[{n}] {_place(rng)}\n{s}" for n, s in enumerate(chosen, 1)), answer)


def _lines(item: ReadingItem) -> list[str]:
    """The sentences of an item without those that only name a file, and without stray or endless ones."""
    return [s for s in sentences(item.passage) if 2 < len(s.split()) < 60 and not re.match(r"\[\d+\] ", s)]


def _place(rng: random.Random) -> str:
    name = f"{rng.choice(_FILES)}-{rng.choice((rng.randint(2019, 2035), rng.choice(_FILES)))}"
    page = f", page {rng.randint(1, 60)}" if rng.random() < 0.5 else ""
    return f"{name}.{rng.choice(('pdf', 'docx', 'html', 'md', 'csv', 'txt'))}{page}"

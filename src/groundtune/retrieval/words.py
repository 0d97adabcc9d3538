"""A text's words as full-text search compares them, by language: without stop words, stemmed, compounds with their parts.

Stems are Snowball's (Porter, "Snowball: A language for stemming algorithms", 2001; snowballstemmer 3, 31 languages). German
ones have their umlauts folded, however they are typed ("Gebühr", "Gebuehr", "Gebuhr"). A German compound brings its parts
along ("Jahresurlaubsanspruch": also "Jahr", "Urlaub", "Anspruch"), by Koehn and Knight, "Empirical Methods for Compound
Splitting" (EACL 2003): of the ways to cut it into known words, with or without a linking element, the one whose words are
most frequent in the documents by their geometric mean. Departs from it: the compound itself stays a term, so that a frequent
compound is cut too; parts are cut again; and a list of common words (words.toml) stands in for what few documents lack.
Leaves out which language a text is of: ``ingest.language``.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.dataset.reading import STOP_WORDS
from groundtune.records import Document

#: languages whose compounds are cut: an index of their documents needs a vocabulary
COMPOUNDING = frozenset({"de"})
#: what is taken where a document's language is not known, or has no stemmer
DEFAULT = "en"
#: fewest letters of a part; fewest and most of a compound; most parts; words whose parts are remembered
PART, COMPOUND, MOST_PARTS, MOST_HELD = 3, (7, 60), 4, 200_000
_STEMMING = threading.Lock()
#: (part, how often it stands in the documents), from left to right
_Cut = tuple[tuple[str, int], ...]
#: linking elements and endings that a part may carry, and what it may have lost ("Schulbuch", "Liegeplatz", "Wohnhaus")
_ADDED = ("", "s", "es", "n", "en", "er", "e", "ern")
_LOST = ("e", "n", "en")
#: a run of letters and digits; a character of a script that writes no spaces is a word of its own
_DENSE = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+")
_MARK = re.compile("[\u0300-\u036f]")
_SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french", "ga": "irish",
    "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian",
    "nb": "norwegian", "ne": "nepali", "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip


class Vocabulary:
    """The words of the German documents of an index: what compounds are cut into.

    Args:
        counts: word -> how often it stands there, as :func:`count_words` gives it.
        listed: also cut into the common words of words.toml, each worth as much as one that stands there once.
    """

    def __init__(self, counts: Mapping[str, int], *, listed: bool = True) -> None:
        self.counts = counts
        self._common = _parts() if listed else frozenset()
        self._parts: dict[str, tuple[str, ...]] = {}

    def parts(self, word: str) -> tuple[str, ...]:
        """The parts of a compound, parts of parts behind them, umlauts folded; empty where it is none."""
        folded = _folded(word.lower())
        if folded not in self._parts:
            if len(self._parts) > MOST_HELD:
                self._parts.clear()
            self._parts[folded] = self._cut(folded)
        return self._parts[folded]

    def _cut(self, word: str) -> tuple[str, ...]:
        if not COMPOUND[0] <= len(word) <= COMPOUND[1] or not word.isalpha() or _is_form_of(word, _whole()):
            return ()
        best = max(self._ways(word, MOST_PARTS), key=_frequency, default=())
        return tuple(dict.fromkeys(p for part, _ in best for p in (part, *self.parts(part))))

    def _ways(self, word: str, most: int) -> list[_Cut]:
        """Every way to cut a word into two to ``most`` known ones."""
        found: list[_Cut] = []
        for at in range(PART, len(word) - PART + 1):
            if head := self._known(word[:at]):
                if tail := self._known(word[at:]):
                    found.append((head, tail))
                if most > 2:
                    found += [(head, *rest) for rest in self._ways(word[at:], most - 1)]
        return found

    def _known(self, piece: str) -> tuple[str, int] | None:
        """The most frequent known word that a piece may stand for, with its frequency."""
        forms = [piece.removesuffix(ending) for ending in _ADDED if piece.endswith(ending)] + [piece + e for e in _LOST]
        found = [(self.counts.get(f, 0) + (f in self._common), f) for f in forms if len(f) >= PART]
        count, form = max(found, default=(0, ""))
        return (form, count) if count else None


def _frequency(cut: _Cut) -> tuple[float, int]:
    """The geometric mean of the parts' frequencies; of equal ones fewer parts are better."""
    return math.fsum(math.log(n) for _, n in cut) / len(cut), -len(cut)


def count_words(texts: Iterable[str], into: Counter[str] | None = None) -> Counter[str]:
    """How often each word stands in German texts: small letters, umlauts folded.

    Words of under three letters, stop words and what holds a digit are no parts of compounds and are left out.
    """
    counts: Counter[str] = Counter() if into is None else into
    for text in texts:
        counts.update(
            _folded(w) for w in _WORD.findall(text.lower()) if len(w) >= PART and w.isalpha() and not is_stop(w, "de")
        )
    return counts


def terms(text: str, language: str, vocabulary: Vocabulary | None = None) -> list[str]:
    """The terms of a text, in order, repeated as its words are; all its words where they are stop words.

    Args:
        text: of a chunk or a question.
        language: ISO 639 code; ``und`` and languages without a stemmer are read as English.
        vocabulary: of the index's German documents, to cut compounds by; without one none is cut.
    """
    language = known(language)
    words = _WORD.findall(text.lower())
    out: list[str] = []
    for word in [w for w in words if not is_stop(w, language)] or words:
        out.append(_stem(word, language))
        if vocabulary is not None and language in COMPOUNDING:
            out += [_stem(part, language) for part in vocabulary.parts(word)]
    return out


def question_terms(question: str, languages: Sequence[str], vocabulary: Vocabulary | None = None) -> list[str]:
    """The terms of a question, each once, as the documents of each of these languages would have them.

    Args:
        question: as asked.
        languages: of the documents in the index; where they are several, the question's own is told by its words, and
            its stop words are left out.
        vocabulary: as in :func:`terms`.
    """
    wanted = list(dict.fromkeys(map(known, languages))) or [DEFAULT]
    if len(wanted) > 1:
        question = content_words(question, spoken(question, wanted))
    return list(dict.fromkeys(t for language in wanted for t in terms(question, language, vocabulary)))


def spoken(question: str, languages: Sequence[str]) -> Sequence[str]:
    """Which of these languages a question is of, as a list of one; all of them where it seems to be none of them."""
    if len(languages) < 2:
        return languages
    from groundtune.ingest.language import language_of

    asked, _ = language_of(question)
    return [asked] if asked in languages else languages


def content_words(text: str, languages: Sequence[str] = (DEFAULT,)) -> str:
    """The words of a text, as written, without the stop words of these languages; all of them where nothing is left."""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return " ".join([w for w in words if not any(is_stop(w.lower(), known(code)) for code in languages)] or words)


def document_languages(documents: Iterable[Document]) -> dict[str, str]:
    """Document id -> the language to read it in: its own, or the commonest where its own cannot be told."""
    found = {d.id: d.language for d in documents}
    told = Counter(language for language in found.values() if language != "und")
    common = told.most_common(1)[0][0] if told else DEFAULT
    return {id_: known(common if language == "und" else language) for id_, language in found.items()}


def known(language: str) -> str:
    """The language whose rules are taken for it: itself where it has a stemmer, else English."""
    return language if language in _SNOWBALL else DEFAULT


def is_stop(word: str, language: str) -> bool:
    """True for a stop word of the language, in small letters; German ones also with ae, oe, ue. False where no list is kept."""
    return word in _stop_words(language) or (language == "de" and _folded(word) in _stop_words(language))


def _is_form_of(word: str, words: frozenset[str]) -> bool:
    return any(word.removesuffix(ending) in words for ending in _ADDED if word.endswith(ending))


def _folded(word: str) -> str:
    """A German word with its umlauts as plain vowels, whether they were written ä, ö, ü or, behind no vowel or q, ae, oe, ue."""
    if not word.isascii():
        word = _MARK.sub("", unicodedata.normalize("NFKD", word.replace("ß", "ss")))
    return re.sub(r"(?<![aeiouq])([aou])e", r"\1", word) if "e" in word else word


@functools.lru_cache(maxsize=MOST_HELD)
def _stem(word: str, language: str) -> str:
    """The stem of a word in small letters, its accents folded; what is too long for a word stays as it is."""
    if len(word) > COMPOUND[1]:
        return word
    with _STEMMING:
        stem = _stemmer(language).stemWord(_folded(word) if language == "de" else word)
    return stem if stem.isascii() else _MARK.sub("", unicodedata.normalize("NFKD", stem))


@functools.cache
def _stemmer(language: str) -> Any:
    """The stemmer of a language, for one thread at a time: it keeps its word in itself."""
    import snowballstemmer  # type: ignore[import-untyped,unused-ignore]

    return snowballstemmer.stemmer(_SNOWBALL[language])


@functools.cache
def _listed(table: str, name: str) -> frozenset[str]:
    """A list of words.toml, its umlauts folded; empty where there is none of that name."""
    lists = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return frozenset(map(_folded, lists[table].get(name, "").split()))


@functools.cache
def _stop_words(language: str) -> frozenset[str]:
    return STOP_WORDS if language == "en" else _listed("stop_words", language)


def _parts() -> frozenset[str]:
    return _listed("compounds", "parts")


def _whole() -> frozenset[str]:
    return _listed("compounds", "whole")

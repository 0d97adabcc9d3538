"""Vocabulary and language of a dataset's texts: words, how fast new ones come, how the tokenizer cuts them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from groundtune.dataset.reading import STOP_WORDS
from groundtune.dataset.stats.sample import HEAD_CHARACTERS, SampledRow, answered, asked, thin

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: rows whose language is looked at, and whose texts are tokenized without a template
LANGUAGE_ROWS = 2_000
UNDETERMINED = "und"
#: a text with fewer words that no language is told of is too short to tell
SHORT_WORDS = 4
#: to say that an answer is in another language than its question takes this many words of each, and this confidence
PAIR_WORDS, PAIR_SURE = 8, 0.9
#: distinct words that are held; beyond it the ones seen once are forgotten and counted
MOST_TYPES = 500_000
FREQUENT = 40

#: a run of letters and digits; a character of a script that writes no spaces is a word of its own
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|"
    r"[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]+(?:'[^\W_]+)*"
)
#: function words of common languages; a list is in use where words that only it has are over one in a hundred, and four of them stand there
_LISTS = {
    "en": STOP_WORDS
    | frozenset(
        "many much now get got gets per until make makes use used using new given way like however often even still yet "
        "ever every another within without since though although around two first well say "
        "i am me him them us yours hers ours up out off too very just because while both between through during please "
        "i'm it's don't let's he's she's that's i've you're we're they're can't i'd i'll won't isn't doesn't aren't".split()
    ),
    "de": frozenset(
        "der die das den dem des ein eine einen einem einer eines und oder aber nicht ist sind war waren wird werden hat "
        "haben ich du er sie es wir ihr mit von zu zum zur auf für aus bei nach über um als wie auch im in am an sich dass "
        "kann noch nur so wenn man was bis durch".split()
    ),
    "fr": frozenset(
        "le la les un une des du de et ou mais ne pas est sont était a ont il elle nous vous ils elles je tu que qui dans "
        "sur pour par avec ce cette ces son sa ses au aux plus se en y l'on c'est d'un d'une qu'il n'est".split()
    ),
    "es": frozenset(
        "el la los las un una unos unas y o pero no es son era fue ha han yo él ella nosotros ellos que de en a con por para "
        "del al se su sus lo como más".split()
    ),
    "it": frozenset(
        "il lo la gli i le un una di che è e sono della dei delle nel con per non si da in del al come più".split()
    ),
    "nl": frozenset("de het een en van in is niet zijn op voor met dat te die hij ik je er aan ook als".split()),
}


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return WORD.findall(text.lower().replace("’", "'"))


def function_words(counts: Mapping[str, int]) -> frozenset[str]:
    """The function words of the languages that these words are of; English ones in any case."""
    total = sum(counts.values())
    used = set(_LISTS["en"])
    for code, words in _LISTS.items():
        own = words - frozenset[str]().union(*(other for name, other in _LISTS.items() if name != code))
        found = [counts[word] for word in own if counts.get(word)]
        if len(found) >= 4 and sum(found) > total / 100:
            used |= words
    return frozenset(used)


def is_content(word: str, function: frozenset[str]) -> bool:
    """True for what says what a text is about: no function word, number, or single letter of an alphabet."""
    return word not in function and not word.isdigit() and (len(word) > 2 or word >= "\u0e00")


def vocabulary(rows: Sequence[SampledRow], *, most_types: int = MOST_TYPES) -> dict[str, Any]:
    """Words and types of the users' and assistants' turns, their growth, and the most frequent content words.

    Returns:
        ``words``, ``types`` (an upper bound where ``types_complete`` is False), ``once`` (types seen once), ``growth``
        ([words read, types so far], about 40 points), ``frequent`` ({word, count, examples}).
    """
    counts: Counter[str] = Counter()
    present: Counter[str] = Counter()
    total = forgotten = 0
    growth: list[tuple[int, int]] = []
    step = max(1, len(rows) // 40)
    for number, row in enumerate(rows, 1):
        found = [w for text in (asked(row.item), answered(row.item)) for w in words_of(text)]
        total += len(found)
        counts.update(found)
        present.update(set(found))
        if len(counts) > most_types:
            once = [word for word, n in counts.items() if n == 1]
            forgotten += len(once)
            for word in once:
                del counts[word]
                present.pop(word, None)
        if number % step == 0 or number == len(rows):
            growth.append((total, len(counts) + forgotten))
    function = function_words(counts)
    frequent = [w for w, _ in counts.most_common(FREQUENT * 12) if is_content(w, function)][:FREQUENT]
    return {
        "words": total,
        "types": len(counts) + forgotten,
        "types_complete": not forgotten,
        "once": sum(n == 1 for n in counts.values()) + forgotten,
        "growth": [list(point) for point in growth],
        "frequent": [{"word": w, "count": counts[w], "examples": present[w]} for w in frequent],
    }


def languages(
    rows: Sequence[SampledRow],
    tokenizer: PreTrainedTokenizerBase,
    language_of: Callable[[str], tuple[str, float]] | None,
    *,
    most_rows: int = LANGUAGE_ROWS,
) -> tuple[dict[str, Any], dict[int, float]]:
    """The language of what is asked and of what is answered, with tokens per word in each; on at most 2,000 rows.

    Args:
        rows: the sampled rows.
        tokenizer: cuts the texts, without a chat template.
        language_of: text -> (code, confidence from 0 to 1), ``und`` where it cannot tell; None where there is nothing that tells.

    Returns:
        ``examples`` looked at, ``tokens_per_word`` and ``characters_per_token`` over all, ``languages`` ({code, examples,
        tokens_per_word}; code ``short`` or ``unsure`` where it cannot be told), ``pairs`` ({asked, answered, examples})
        where question and answer differ; and the tokens a character of each row looked at, by its number.
    """
    found: dict[str, list[int]] = {}
    pairs: Counter[tuple[str, str]] = Counter()
    characters = looked_at = 0
    density: dict[int, float] = {}
    for row in thin(rows, most_rows):
        looked_at += 1
        texts = (asked(row.item)[:HEAD_CHARACTERS], answered(row.item)[:HEAD_CHARACTERS])
        both = "\n".join(texts)
        entry = found.setdefault(_language(both, language_of), [0, 0, 0])
        tokens = len(tokenizer(both, add_special_tokens=False)["input_ids"])
        for at, amount in enumerate((1, len(words_of(both)), tokens)):
            entry[at] += amount
        characters += len(both)
        density[row.number] = tokens / len(both)
        if language_of and all(len(words_of(text)) >= PAIR_WORDS for text in texts):
            (first, sure), (second, also_sure) = map(language_of, texts)
            if first != second and UNDETERMINED not in (first, second) and min(sure, also_sure) >= PAIR_SURE:
                pairs[first, second] += 1
    words, tokens = (sum(entry[at] for entry in found.values()) for at in (1, 2))
    figures = {
        "examples": looked_at,
        "tokens_per_word": tokens / words if words else None,
        "characters_per_token": characters / tokens if tokens else None,
        "languages": [
            {"code": code, "examples": n, "tokens_per_word": cut / said if said else None}
            for code, (n, said, cut) in sorted(found.items(), key=lambda pair: -pair[1][0])
        ],
        "pairs": [{"asked": a, "answered": b, "examples": n} for (a, b), n in pairs.most_common(10)],
    }
    return figures, density


def _language(text: str, language_of: Callable[[str], tuple[str, float]] | None) -> str:
    if language_of is None:
        return "unknown"
    code, _ = language_of(text)
    if code != UNDETERMINED:
        return code
    return "short" if len(words_of(text)) < SHORT_WORDS else "unsure"

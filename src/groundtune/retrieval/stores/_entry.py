"""What every store holds of a chunk, how it is told to hold it, and the words that its full text is searched by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundtune.records import Chunk
from groundtune.retrieval.words import DEFAULT, Vocabulary, known, question_terms, terms
from groundtune.workspace import write_json

WORDS = "words.json"
#: columns of a chunk, in both tables' order; page and row are whole numbers, the others text
CHUNK_COLUMNS = ("chunk_id", "document_id", "document", "text", "page", "row", "heading", "media_type", "language")
#: those that conditions are on, kept with every sentence, too
PLACE_COLUMNS = ("chunk_id", "document_id", "document", "page", "row", "heading", "media_type", "language")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store holds of one chunk.

    Attributes:
        chunk: the chunk.
        search_text: what full text searches.
        vector: of ``search_text``, (dimensions,).
        sentences: the chunk's sentences.
        vectors: of the sentences alone, (sentences, dimensions).
        context_vectors: of the sentences behind their headings, (sentences, dimensions).
    """

    chunk: Chunk
    search_text: str
    vector: Any
    sentences: Sequence[str]
    vectors: Any
    context_vectors: Any


@dataclass(frozen=True, slots=True)
class Words:
    """How the texts of an index are turned into terms.

    Attributes:
        default: language of the documents whose own cannot be told.
        languages: of the documents.
        counts: words of the German documents with their frequencies, to cut compounds by.
    """

    default: str = DEFAULT
    languages: Sequence[str] = (DEFAULT,)
    counts: Mapping[str, int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Keep them in a store's folder."""
        found = {"default": self.default, "languages": list(self.languages), "counts": dict(self.counts)}
        write_json(folder / WORDS, found)


class Terms:
    """Texts and questions to terms, by the :class:`Words` of a store's folder; English where it has none."""

    def __init__(self, folder: Path) -> None:
        path = folder / WORDS
        self.words = Words(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Words()
        self._vocabulary = Vocabulary(self.words.counts) if self.words.counts else None

    def of_chunk(self, entry: Entry) -> str:
        """The terms of what is searched of a chunk, joined by spaces."""
        language = entry.chunk.language
        language = known(self.words.default if language == "und" else language)
        return " ".join(terms(entry.search_text, language, self._vocabulary))

    def of_question(self, text: str) -> list[str]:
        """The terms of a question, each once."""
        return question_terms(text, self.words.languages, self._vocabulary)


@dataclass(frozen=True, slots=True)
class Options:
    """How a store is to be built.

    Attributes:
        database: where it is, for a store that is no folder; ``${NAME}`` takes an environment variable.
        project: what the tables of one workspace are told from those of others by.
        approximate_from: rows from which a table of vectors gets an approximate index; 0: never.
    """

    database: str = ""
    project: str = "groundtune"
    approximate_from: int = 0


def as_chunk(row: Mapping[str, Any]) -> Chunk:
    """The chunk of a row with :data:`CHUNK_COLUMNS`."""
    return Chunk(row["chunk_id"], *(row[name] for name in CHUNK_COLUMNS[1:]))


def column_values(chunk: Chunk) -> tuple[Any, ...]:
    """A chunk's values in the order of :data:`CHUNK_COLUMNS`."""
    return (chunk.id, *(getattr(chunk, name) for name in CHUNK_COLUMNS[1:]))


def place_values(chunk: Chunk) -> tuple[Any, ...]:
    """A chunk's values in the order of :data:`PLACE_COLUMNS`."""
    return (chunk.id, *(getattr(chunk, name) for name in PLACE_COLUMNS[1:]))

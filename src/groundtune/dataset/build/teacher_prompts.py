"""What a teacher is asked: documents cut into passages, and the prompt about one of them.

Leaves out asking, and what is done with the replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from groundtune.dataset.build.build import Source
from groundtune.records import Message
from groundtune.workspace import digest

#: raised when the prompt changes, so that old replies are not taken for new ones
PROMPT_VERSION = 1
CHUNK_TOKENS = 300
_INSTRUCTION = """You write questions for a quiz about a passage. Rules:
- Every question is answered by the passage alone and has one answer.
- Name what you ask about: no "the passage", no "this document", no "he" or "it".
- The answer is short, at most ten words, copied word for word from the passage.
- The quote is the full sentence, or table row, of the passage that holds the answer, word for word.
Reply with JSON only: a list of {n} objects with the keys "question", "other_wording", "answer", "quote".
"other_wording" asks for the same answer in other words.
Give fewer objects where the passage says less; give [] where it says nothing."""


@dataclass(frozen=True, slots=True)
class TeacherChunk:
    """A passage to ask about: a run of sentences of one section, or of rows of one table.

    Attributes:
        document, title, page, heading: of the document and section.
        section: number of the (first) section from 1.
        text: the passage.
        row: of the first row, for tables.
    """

    document: str
    title: str
    section: int
    text: str
    page: int | None = None
    heading: str = ""
    row: int | None = None


def teacher_chunks(sources: Iterable[Source], *, chunk_tokens: int = CHUNK_TOKENS) -> Iterator[TeacherChunk]:
    """The passages of documents; rows of a table are put together up to the size of a chunk."""
    from groundtune.retrieval.chunkers.sentence import chunk_text

    for document, read in sources:
        rows: list[TeacherChunk] = []
        for number, section in enumerate(read(), 1):
            made = (document.path, document.title, number)
            if section.row is not None:
                rows.append(TeacherChunk(*made, section.text, section.page, section.heading, section.row))
                if sum(tokens_of(r.text) for r in rows) >= chunk_tokens:
                    yield _joined(rows)
                    rows = []
                continue
            for text in chunk_text(section.text, count=tokens_of, chunk_tokens=chunk_tokens, overlap_tokens=0):
                if len(text.split()) >= 6:
                    yield TeacherChunk(*made, text, section.page, section.heading)
        if rows:
            yield _joined(rows)


def _joined(rows: Sequence[TeacherChunk]) -> TeacherChunk:
    first = rows[0]
    text = "\n".join(r.text for r in rows)
    return TeacherChunk(first.document, first.title, first.section, text, first.page, first.heading, first.row)


def tokens_of(text: str) -> int:
    """About as many tokens as a text has: UTF-8 bytes divided by four, rounded up. For sizes and costs beforehand."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def prompt_of(chunk: TeacherChunk, questions: int) -> list[Message]:
    """What the teacher is asked about a chunk."""
    where = f"Document: {chunk.title}" + (f"\nSection: {chunk.heading}" if chunk.heading else "")
    return [
        Message("system", _INSTRUCTION.replace("{n}", str(questions))),
        Message("user", f"{where}\n\nPassage:\n{chunk.text}"),
    ]


def chunk_key(chunk: TeacherChunk, teacher: str, questions: int) -> str:
    """What a finished chunk is found by: its text and place, the prompt, and the teacher."""
    return digest([PROMPT_VERSION, _INSTRUCTION, questions, teacher, chunk.document, chunk.section, chunk.text])

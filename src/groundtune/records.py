"""The frozen records that every floor passes around. Data only: no behaviour beyond turning into and out of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the assistant wants to be called.

    Attributes:
        name: the tool's name.
        arguments: its arguments, as JSON text.
        id: what the tool's answer refers to; may be empty.
    """

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks.
        content: the text; empty where an assistant only calls tools.
        name: the speaker's or, for ``tool`` and ``function``, the tool's name.
        tool_calls: what the assistant wants to be called.
        tool_call_id: for ``tool``: the call that this is the answer to.
        trained: for ``assistant``: counts in the loss (OpenAI's ``weight`` 1), or is context only (0).
    """

    role: Role
    content: str = ""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Conversation:
    """A dataset item to imitate: turns, of which the assistant's are trained on.

    Attributes:
        messages: the turns, in order.
        tools: the tools on offer, each as OpenAI's ``{"type": "function", "function": {...}}``.
        id, fact, split: as in Example; empty where unknown.
        source: path of the document that it was made from; empty where unknown.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""
    fact: str = ""
    split: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """A dataset item to choose by: one prompt with a better and a worse continuation.

    Attributes:
        messages: the prompt; its last turn is not the assistant's.
        chosen, rejected: the turns that continue it.
        tools, id, split, source: as in Conversation.
    """

    messages: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""
    split: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One source file as it came in.

    Attributes:
        id: first 16 hex digits of the SHA-256 of ``path`` and ``sha256``; stable across runs.
        path: path relative to the ingested folder, with forward slashes: the name a user sees.
        sha256: hash of the file's bytes.
        media_type: the loader that read it (``pdf``, ``docx`` ...).
        title: first heading, or the file name.
        size_bytes: the file's size.
        language: ISO 639 code of most of its text; ``und`` where that cannot be told.
    """

    id: str
    path: str
    sha256: str
    media_type: str
    title: str
    size_bytes: int
    language: str = "und"


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a document with the place it stands in: what loaders yield, and what chunkers cut.

    Attributes:
        text: plain text; paragraphs are separated by blank lines.
        page: page or slide number from 1 (PDF, presentations), else None.
        row: row number from 1, the header not counted (tables), else None.
        heading: the headings above it, outermost first, joined with " > "; a sheet's name, an e-mail's subject or a
            slide's title is the outermost one.
    """

    text: str
    page: int | None = None
    row: int | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is embedded, stored and found: a run of sentences of one section.

    Attributes:
        id: ``<document id>-<index>``.
        document_id: the document's id.
        document: the document's path.
        page, row, heading: as in Section.
        text: the chunk's own text.
        media_type, language: as in Document.
    """

    id: str
    document_id: str
    document: str
    text: str
    page: int | None = None
    row: int | None = None
    heading: str = ""
    media_type: str = ""
    language: str = "und"


@dataclass(frozen=True, slots=True)
class Passage:
    """The place that answers a question: a document, its page where it has pages, and the sentence."""

    document: str
    text: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One dataset item: a question with its reference answer and where that stands.

    Attributes:
        id: unique in its dataset.
        fact: id of the fact it asks for; phrasings of one fact share it, and resampling is by fact.
        split: ``train``, ``held_out_phrasings``, ``held_out_facts``, ``unanswerable`` or a user's own name.
        question: the user's words.
        references: right answers; the first is the one that is trained on. Empty when unanswerable.
        passages: where the answer stands; several when it needs several.
        kind: what makes it hard (``plain``, ``table``, ``superseded``, ``near_twin``, ``two_passages``, ``unanswerable``).
    """

    id: str
    fact: str
    split: str
    question: str
    references: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    kind: str = "plain"

    @property
    def answerable(self) -> bool:
        """True when the documents hold an answer."""
        return bool(self.references)


@dataclass(frozen=True, slots=True)
class Source:
    """What an answer rests on: a retrieved chunk and the sentence of it that says so."""

    document: str
    chunk_id: str
    score: float
    quote: str
    page: int | None = None
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """The promised form in ``ask --json``."""
        return {
            "document": self.document,
            "page": self.page,
            "chunk_id": self.chunk_id,
            "score": round(self.score, 6),
            "quote": self.quote,
        }


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of an answer with what it rests on.

    Attributes:
        text: the sentence, as it stands in the answer.
        supported: whether something that was retrieved supports it.
        support: how well the best of it does, 0 to 1.
        sources: what supports it, best first, each with the words that do; empty where nothing does.
    """

    text: str
    supported: bool
    support: float
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written for one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a System answers.

    Attributes:
        text: the answer, or the sentence that says there is none.
        abstained: True when the System says that it has no answer.
        sources: what it rests on, best first; empty for closed-book systems, and where nothing retrieved supports it.
        retrieved: every chunk the retriever brought, best first, for recall and MRR.
        logprobs: natural-log probability of each generated token; empty when the backend has none.
        usage: tokens in and out.
        seconds: wall-clock seconds spent on this answer.
        transcript: how a System came to it, step by step (thoughts, actions, observations); empty where there are none.
        statements: its sentences, each with the sources it rests on; empty for abstentions and closed-book systems.
    """

    text: str
    abstained: bool = False
    sources: tuple[Source, ...] = ()
    retrieved: tuple[Source, ...] = ()
    logprobs: tuple[float, ...] = ()
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    transcript: str = ""
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """What a backend writes for one prompt: text, its tokens' log-probabilities, usage."""

    text: str
    logprobs: tuple[float, ...] = ()
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Score:
    """A metric over many questions: mean with its 95 % bootstrap interval and the number of questions."""

    mean: float
    low: float
    high: float
    n: int


def example_to_json(example: Example) -> dict[str, Any]:
    """One line of a dataset file."""
    return asdict(example)


def example_from_json(row: Mapping[str, Any]) -> Example:
    """The inverse of :func:`example_to_json`.

    Raises:
        KeyError, TypeError: when a field is missing or has the wrong type; callers name file and line.
    """
    question = row["question"]
    if not isinstance(question, str) or not question.strip():
        raise TypeError("'question' must be a non-empty string")
    references = row.get("references", ())
    if isinstance(references, str):
        references = (references,)
    passages = tuple(
        Passage(document=str(p["document"]), text=str(p["text"]), page=p.get("page")) for p in row.get("passages", ())
    )
    return Example(
        id=str(row["id"]),
        fact=str(row.get("fact") or row["id"]),
        split=str(row["split"]),
        question=question,
        references=tuple(str(r) for r in references),
        passages=passages,
        kind=str(row.get("kind", "plain" if references else "unanswerable")),
    )

"""Training files of jobs: read and checked as OpenAI checks them, with its codes and wording, and turned into token rows.

A file is one JSON object a line: chats, prompt and completion, or preference pairs. The first fault ends the check with one
message; what is odd but trains is reported beside. Memory holds one line while checking, and token rows while training.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from groundtune.dataset.checks.check import check
from groundtune.dataset.checks.findings import CODES
from groundtune.dataset.checks.item_rules import TextSearch, item_faults
from groundtune.dataset.files.items import Item, Reader
from groundtune.dataset.files.row_bytes import Broken
from groundtune.dataset.files.row_json import json_lines
from groundtune.dataset.formats import openai_chat, openai_preference, prompt_completion
from groundtune.dataset.formats._messages import ROLES
from groundtune.errors import GroundtuneError
from groundtune.records import Conversation, Message, Preference

if TYPE_CHECKING:
    from groundtune.dataset.render import TokenRow
    from groundtune.training.dpo import PairRow

Role = Literal["training", "validation"]
#: fewest examples of a training file
FEWEST = 10
#: formats of each way to train, and OpenAI's name of such files
FORMATS = {"openai_chat": "supervised", "prompt_completion": "supervised", "openai_preference": "dpo"}
CALLED = {"openai_chat": "fine-tune-chat", "prompt_completion": "fine-tune-completion", "openai_preference": "fine-tune-preference"}  # fmt: skip
_UNEXPECTED = "Unexpected file format, expected either prompt/completion pairs or chat messages."
#: what a row that can be read may still not be
_REFUSED = frozenset({"last_not_assistant", "example_missing_assistant_message", "all_weights_zero", "equal_sides", "half_character"})  # fmt: skip
_PLACE = re.compile(r"[\w.]*\[(\d+)\]:? ?(?:has )?")


class Refused(Exception):
    """A file that no job can be run on.

    Attributes:
        code, message, param: as a failed job's ``error`` has them.
    """

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def take(source: Path, target: Path) -> None:
    """Give a job its own hold on a file's bytes, so that deleting the file does not end the job; whole or not at all."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or none that links
        half = target.with_name(f"{target.name}.part")
        shutil.copyfile(source, half)
        half.replace(target)


def check_file(path: Path, file_id: str, role: Role, method: str) -> tuple[str, int]:
    """The format of a job's file and the number of its examples.

    Args:
        path: its bytes.
        file_id: what messages call it.
        method: supervised or dpo.

    Raises:
        Refused: it is not what a job can be run on.
    """
    search, count, format = TextSearch(), 0, ""
    for number, item in enumerate(_items(path, role, file_id, method), 1):
        count, format = number, format or item[0]
        faults = list(item[1].faults)
        if item[1].item is not None:
            faults = [(c, d) for c, d in item_faults(item[1].item, search) if c in _REFUSED] + _sides(item[1].item)
            faults = [(code, f"{CODES[code].means}{f' ({detail})' if detail else ''}") for code, detail in faults]
        if faults:
            raise _invalid(role, f"Invalid file format. {_said(number, item[1].row, *faults[0])}")
    if not count:
        raise _invalid(role, f"Invalid file format. Input file {file_id} is empty.")
    if role == "training" and count < FEWEST:
        message = f"Training file has {count} example(s), but must have at least {FEWEST} examples"
        raise Refused("invalid_n_examples", message, "training_file")
    return format, count


def _sides(item: Conversation | Preference) -> list[tuple[str, str]]:
    if isinstance(item, Conversation):
        return []
    whole = item.chosen and item.rejected and item.messages and item.messages[-1].role != "assistant"
    return [] if whole else [("missing_side", "a prompt and two answers to it are needed")]


def _items(path: Path, role: Role, file_id: str, method: str) -> Iterator[tuple[str, Item]]:
    """(format, item) of every line; the format is that of the first."""
    reader: Reader | None = None
    with path.open("rb") as file:
        for line, row in json_lines(file):
            if isinstance(row, Broken):
                if row.code == "empty_row":
                    continue
                if reader is None:
                    raise _invalid(role, f"{_UNEXPECTED} Line {line} is {_unread(row)}.")
                raise _invalid(role, f"Invalid file format. Line {line} is {_unread(row)}.")
            if reader is None:
                reader = Reader(_format(row, role))
                _check_method(reader.name, role, file_id, method)
            for item in reader.items(line, row):
                yield reader.name, item


def _unread(row: Broken) -> str:
    said = {"wrong_encoding": f"not valid UTF-8: {row.reason}", "row_too_long": f"too long: {row.reason}"}
    return said.get(row.code, f"not valid JSON: {row.reason.removeprefix('not JSON: ')}")


def _format(row: Any, role: Role) -> str:
    scores = {
        "openai_chat": openai_chat.sniff(row),
        "prompt_completion": prompt_completion.sniff(row),
        "openai_preference": openai_preference.sniff(row),
    }
    best = max(scores, key=lambda name: scores[name])
    if not scores[best]:
        raise _invalid(role, _UNEXPECTED)
    return best


def _check_method(format: str, role: Role, file_id: str, method: str) -> None:
    if FORMATS[format] != method:
        raise _invalid(
            role,
            f"Input file {file_id} is in the {CALLED[format]} format, but the specified fine-tuning job is not using "
            f"'{FORMATS[format]}' as the training method (provided method={method}).",
        )


def _invalid(role: Role, what: str) -> Refused:
    return Refused(
        f"invalid_{role}_file", f"The job failed due to an invalid {role} file. {what}", param=f"{role}_file"
    )


def _said(number: int, row: Any, code: str, reason: str) -> str:
    """A fault of an example in OpenAI's words where those are known; examples and messages count from 1."""
    found = _PLACE.match(reason)
    place = f"Example {number}, message {int(found[1]) + 1}" if found else f"Example {number}"
    rest = reason[found.end() :] if found else reason
    if code == "message_missing_key" and "'role'" in rest:
        return f"{place} Discriminator 'role' is missing in value"
    if code == "unrecognized_role":
        known = ", ".join(repr(role) for role in sorted(ROLES))
        return f"{place} {rest[:1].upper()}{rest[1:]}, expected one of {known}"
    return f"{place} {rest[:1].upper()}{rest[1:]}"


def oddities(path: Path, format: str) -> list[str]:
    """What is odd about a file that can be trained on, as ``groundtune dataset check`` finds it without a tokenizer."""
    try:
        report = check(path, format=format, near=False)
    except GroundtuneError:  # its first bytes look like another kind of file: the check above has read it as lines
        return []
    odd = [f for f in report.findings if f.severity != "note" and f.code != "too_few_examples"]
    return [f"{f.count} x {f.means} ({f.places[0].removeprefix(f'{path}:')}): {f.next_step}" for f in odd]


# ---------------------------------------------------------------- tokens


class Examples:
    """The examples of a checked file as token rows of a model.

    Args:
        path: its bytes; :func:`check_file` has passed them.
        format: its format.
        tokenizer, limit: the model's, and its context in tokens.

    Attributes:
        cut: examples over the limit, cut at their end.
        left_out: of those, the ones of which nothing to train on was left.
    """

    def __init__(self, path: Path, format: str, tokenizer: Any, limit: int) -> None:
        self._path, self._reader, self._tokenizer, self._limit = path, Reader(format), tokenizer, limit
        self.cut = self.left_out = 0

    def rows(self) -> Iterator[TokenRow]:
        """Of conversations, and of prompts and completions: those are plain text to the model, no turns of a chat.

        Raises:
            GroundtuneError: an example that the model's chat template does not take.
        """
        for where, line, item in self._each():
            assert isinstance(item, Conversation)
            if self._reader.name == "prompt_completion" and isinstance(line["prompt"], str):
                row = self._within_limit(self._plain(line["prompt"], line["completion"]))
            else:
                row = self._row(where, item.messages, item.tools)
            if row is not None:
                yield row

    def pairs(self) -> Iterator[PairRow]:
        """Of preferences; the prompt is context only. Raises as :meth:`rows`."""
        from groundtune.training.dpo import PairRow

        for where, _, item in self._each():
            assert isinstance(item, Preference)
            prompt = tuple(replace(message, trained=False) for message in item.messages)
            before = self.left_out
            chosen, rejected = (self._row(where, (*prompt, *s), item.tools) for s in (item.chosen, item.rejected))
            if chosen is not None and rejected is not None:
                yield PairRow(chosen, rejected)
            else:
                self.left_out = before + 1

    def _each(self) -> Iterator[tuple[str, Any, Conversation | Preference]]:
        number = 0
        with self._path.open("rb") as file:
            for line, row in json_lines(file):
                if isinstance(row, Broken):
                    continue
                for item in self._reader.items(line, row):
                    number += 1
                    assert item.item is not None
                    yield f"Example {number}", row, item.item

    def _plain(self, prompt: str, completion: str) -> TokenRow:
        """Two texts without a chat template, each in tokens of its own, as ``/completions`` reads the prompt."""
        from groundtune.dataset.render import TokenRow

        plain: dict[str, Any] = {"split_special_tokens": True, "verbose": False}
        asked = self._tokenizer(prompt, **plain)["input_ids"]
        said = self._tokenizer(completion, add_special_tokens=False, **plain)["input_ids"]
        ids = (*asked, *said, self._tokenizer.eos_token_id)
        return TokenRow(ids, tuple(n >= len(asked) for n in range(len(ids))))

    def _row(self, where: str, messages: tuple[Message, ...], tools: Any) -> TokenRow | None:
        from jinja2.exceptions import TemplateError

        from groundtune.dataset.render import render_example

        try:
            row = render_example(
                self._tokenizer, messages, max_tokens=self._limit, where=where, tools=tools, truncation="drop"
            )
        except TemplateError as error:
            raise GroundtuneError(f"{where}: the model's chat template refuses it: {error}") from None
        return self._within_limit(row)

    def _within_limit(self, row: TokenRow) -> TokenRow | None:
        """A row, cut at its end if need be; None where nothing to train on is left."""
        from groundtune.dataset.render import TokenRow

        if len(row.ids) <= self._limit:
            return row
        self.cut += 1
        if any(row.trained[1 : self._limit]):
            return TokenRow(row.ids[: self._limit], row.trained[: self._limit])
        self.left_out += 1
        return None

"""A tokenizer of many threads: what one asks for changes nothing for the others (and does where nobody takes turns)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from transformers import AutoTokenizer

from groundtune.dataset.render import render_prompt
from groundtune.nn.checkpoints import BUNDLED_FOLDER, open_for_answering
from groundtune.records import Message

CHAT = [Message("user", "When does the library open?")]


class Interrupted:
    """The object behind a tokenizer; whoever is about to encode lets another thread go first, as far as it may."""

    def __init__(self, own: Any, other: Any) -> None:
        self.__dict__.update(own=own, other=other, busy=False)

    def __getattr__(self, name: str) -> Any:
        if name == "encode_batch" and not self.busy:
            self.__dict__["busy"] = True
            thread = threading.Thread(target=self.other, daemon=True)
            thread.start()
            thread.join(0.5)  # who takes turns is still waiting then
            self.__dict__["busy"] = False
        return getattr(self.own, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.own, name, value)


def rendered_beside(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A chat's tokens while another thread asks for characters as they are, between the chat's wishes and its encoding."""

    def other() -> None:
        tokenizer("<tool_call>\n", add_special_tokens=False, split_special_tokens=True)

    monkeypatch.setattr(tokenizer, "_tokenizer", Interrupted(tokenizer._tokenizer, other))
    return render_prompt(tokenizer, CHAT)


def test_a_chats_markers_stay_markers_beside_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = open_for_answering("pebble")
    alone = render_prompt(tokenizer, CHAT)
    assert rendered_beside(tokenizer, monkeypatch) == alone


def test_without_turns_they_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_FOLDER)
    alone = render_prompt(tokenizer, CHAT)
    assert rendered_beside(tokenizer, monkeypatch) != alone

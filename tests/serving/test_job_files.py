"""Prompts and completions as a job trains on them: what ``/completions`` reads, and no chat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from job_material import lines

from groundtune.serving.tuning.job_files import Examples


def rows(path: Path, given: list[Any], tokenizer: Any, limit: int = 64) -> list[Any]:
    path.write_bytes(lines(given))
    return list(Examples(path, "prompt_completion", tokenizer, limit).rows())


def test_a_prompt_is_plain_text_and_the_completion_is_learnt_to_its_end(tmp_path: Path, tiny_tokenizer: Any) -> None:
    (row,) = rows(tmp_path / "a", [{"prompt": "Tower 7 ->", "completion": " 52 metres\n"}], tiny_tokenizer)
    prompt, answer = (tiny_tokenizer(text)["input_ids"] for text in ("Tower 7 ->", " 52 metres\n"))
    assert row.ids == (*prompt, *answer, tiny_tokenizer.eos_token_id)
    assert row.trained == (*[False] * len(prompt), *[True] * (len(answer) + 1))


def test_marks_in_such_texts_are_the_letters_that_they_are(tmp_path: Path, tiny_tokenizer: Any) -> None:
    end = tiny_tokenizer.eos_token
    (row,) = rows(tmp_path / "a", [{"prompt": f"a {end}", "completion": f" b {end} c"}], tiny_tokenizer)
    assert row.ids.count(tiny_tokenizer.eos_token_id) == 1 and row.ids[-1] == tiny_tokenizer.eos_token_id


def test_lists_of_messages_are_chats(tmp_path: Path, tiny_tokenizer: Any) -> None:
    said = [{"role": "user", "content": "a"}], [{"role": "assistant", "content": "b"}]
    (row,) = rows(tmp_path / "a", [{"prompt": said[0], "completion": said[1]}], tiny_tokenizer)
    chat = tiny_tokenizer.apply_chat_template([*said[0], *said[1]], return_dict=True)["input_ids"]
    assert row.ids == tuple(chat)


def test_a_long_prompt_leaves_nothing_to_train_on(tmp_path: Path, tiny_tokenizer: Any) -> None:
    given = [{"prompt": "tower " * 80, "completion": " b"}, {"prompt": "a", "completion": " tower" * 80}]
    (row,) = rows(tmp_path / "a", given, tiny_tokenizer)
    assert len(row.ids) == 64 and row.trained[-1]

"""Ids as OpenAI's look: a prefix that says what it is, then letters and digits nobody can guess."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_letters + string.digits
#: kind of object -> (prefix, letters after it)
_SHAPES = {
    "file": ("file-", 24), "upload": ("upload_", 32), "part": ("part_", 24), "batch": ("batch_", 24),
    "job": ("ftjob-", 24), "event": ("ftevent-", 24), "checkpoint": ("ftckpt_", 24), "permission": ("cp_", 24),
    "vector_store": ("vs_", 24), "vector_store_batch": ("vsfb_", 24), "chat": ("chatcmpl-", 29), "completion": ("cmpl-", 29),
    "moderation": ("modr-", 24), "response": ("resp_", 32), "message": ("msg_", 32), "search": ("fs_", 32),
    "call": ("call_", 24), "request": ("req_", 32), "key": ("key_", 16),
}  # fmt: skip


def new_id(kind: str) -> str:
    """An id of that kind, such as ``file-...``."""
    prefix, length = _SHAPES[kind]
    return prefix + letters(length)


def letters(count: int) -> str:
    """So many letters and digits, from the system's randomness."""
    return "".join(secrets.choice(_LETTERS) for _ in range(count))

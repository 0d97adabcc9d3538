"""Query and form fields as OpenAI's clients send them: ``metadata[key]=value``, ``expires_after[seconds]=3600``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from groundtune.serving.errors import bad_request

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)\Z")


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs of names and values as a tree: ``a[b]=c`` is ``{"a": {"b": "c"}}``; ``a[]=b`` and a repeated name are lists.

    Raises:
        ApiError: a name that is a value and a tree at once.
    """
    out: dict[str, Any] = {}
    for name, value in pairs:
        if not _is_unicode(name) or not _is_unicode(getattr(value, "filename", value)):
            raise bad_request("A name or a value of the form is no valid Unicode.")
        found = _NAME.match(name)
        keys = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])] if found else [name]
        many = len(keys) > 1 and keys[-1] == ""
        *above, last = keys[:-1] if many else keys
        here: Any = out
        for key in above:
            here = here.setdefault(key, {}) if isinstance(here, dict) else here
        if not isinstance(here, dict) or isinstance(here.get(last), dict):
            raise bad_request(f"{name!r} is given as a value and as a tree.", param=name)
        if many or last in here:
            held = here.get(last, [])
            here[last] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            here[last] = value
    return out


def _is_unicode(value: Any) -> bool:
    """Whether it can be sent back: forms name their own encoding, and some make halves of surrogate pairs."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True

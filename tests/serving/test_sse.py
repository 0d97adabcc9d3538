"""Events of streams."""

from __future__ import annotations

import json

from groundtune.serving.generating.sse import event


def test_an_event_is_one_line_to_every_client() -> None:
    """Clients that split decoded text (httpx's ``iter_lines`` does) end lines at these, too."""
    text = "a\u2028b\u2029c\x85d\n\re\x0b\x1cüé🙂"
    sent = event({"text": text}, "said").decode()
    assert sent.endswith("\n\n") and len(sent.splitlines()) == 3
    assert json.loads(sent.splitlines()[1].removeprefix("data: ")) == {"text": text}
    assert "üé🙂" in sent

"""Every test that ``docs/security.md`` names exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_test_that_the_document_names_exists() -> None:
    text = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
    defined = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)}  # fmt: skip
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named - defined == set()
    assert len(named) >= 40

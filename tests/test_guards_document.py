"""``docs/guards.md`` has every row of the catalogue, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "docs" / "guards.md").read_text(encoding="utf-8")
ROWS = {int(n): text for n, text in re.findall(r"^\*\*(\d+)\. (.*?)(?=^\*\*\d+\. |^## |\Z)", TEXT, re.M | re.S)}
DEFINED = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)}  # fmt: skip


def test_every_row_is_there_once() -> None:
    assert re.findall(r"^\*\*(\d+)\.", TEXT, re.M) == [str(n) for n in range(1, 35)]


def test_every_row_names_its_own_test() -> None:
    for number, text in ROWS.items():
        assert f"`test_row_{number:02}_" in text, number


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named - DEFINED == set()
    assert len(named) >= 34


def test_every_row_s_test_is_named() -> None:
    assert {name for name in DEFINED if re.match(r"test_row_\d\d_", name)} - set(
        re.findall(r"`(test_\w+)`", TEXT)
    ) == set()

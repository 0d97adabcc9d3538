"""Text as it may be shown: whole characters, and nothing of a stop text, wherever tokens begin and end."""

from __future__ import annotations

import random

import pytest

from groundtune.generation.writing import Token, Writer


def written(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[list[str], list[list[int]], bool]:
    """What is shown at each step and at the end, the tokens with it, and whether a stop text ended it."""
    writer, texts, tokens = Writer(stops), list[str](), list[list[int]]()
    for n, piece in enumerate(pieces):
        text, shown, stopped = writer.add(Token(n, piece, 0.0))
        texts.append(text)
        tokens.append([token.id for token in shown])
        if stopped:
            return texts, tokens, True
    text, shown = writer.end()
    return [*texts, text], [*tokens, [token.id for token in shown]], False


def test_characters_over_tokens() -> None:
    """A character is shown when its last byte is there, with every token that has a part in it."""
    texts, tokens, _ = written([b"a", b"\xf0\x9f", b"\x99", b"\x82!", b"b"])
    assert texts == ["a", "", "", "🙂!", "b", ""]
    assert tokens == [[0], [], [], [1, 2, 3], [4], []]


@pytest.mark.parametrize(("pieces", "expected"), [
    ([b"\xf0\x9f"], "�"), ([b"\xff", b"a"], "�a"), ([b"\xe2\x82", b"a"], "�a"), ([b"\xed\xa0\x80"], "���"), ([b""], ""), ([], ""),
])  # fmt: skip
def test_bytes_that_are_no_text(pieces: list[bytes], expected: str) -> None:
    texts, tokens, _ = written(pieces)
    assert "".join(texts) == expected
    assert [one for part in tokens for one in part] == list(range(len(pieces)))


def test_a_stop_text_over_tokens() -> None:
    texts, tokens, stopped = written([b"one ", b"E", b"N", b"D two"], ("END",))
    assert "".join(texts) == "one " and stopped and [one for part in tokens for one in part] == [0]


def test_what_might_have_become_a_stop_text() -> None:
    texts, _, stopped = written([b"a E", b"N", b"E", b"N", b"x"], ("END",))
    assert not stopped and "".join(texts) == "a ENENx"
    assert texts[:2] == ["a ", ""]


def test_the_first_stop_text_holds() -> None:
    texts, _, stopped = written([b"abcdef"], ("ef", "cd", "zz"))
    assert "".join(texts) == "ab" and stopped


def test_a_stop_text_inside_of_a_character_is_none() -> None:
    texts, _, stopped = written(["ä".encode()[:1], "ä".encode()[1:], b"."], ("Ã", "ä."))
    assert stopped and "".join(texts) == ""


def test_an_empty_stop_text_stops_nothing() -> None:
    assert written([b"abc"], ("",)) == (["abc", ""], [[0], []], False)


def test_a_stop_text_that_begins_like_itself() -> None:
    texts, _, stopped = written([b"a", b"a", b"a", b"b", b"c"], ("aab",))
    assert stopped and "".join(texts) == "a"


def test_any_cut_gives_the_same_text() -> None:
    """Against Python's own: a text cut anywhere, with stop texts or without."""
    draw = random.Random(0)
    for _ in range(500):
        text = "".join(draw.choice("ab\n .é€🙂") for _ in range(draw.randrange(0, 25)))
        stops = tuple(
            "".join(draw.choice("ab.é🙂") for _ in range(draw.randrange(1, 4))) for _ in range(draw.randrange(0, 4))
        )
        raw, pieces = text.encode(), []
        while raw:
            size = draw.randrange(1, 5)
            pieces.append(raw[:size])
            raw = raw[size:]
        texts, tokens, stopped = written(pieces, stops)
        whole = "".join(texts)
        first = min((at for stop in stops if (at := text.find(stop)) >= 0), default=-1)
        assert stopped == (first >= 0)
        assert whole == (text[:first] if stopped else text), (text, stops, pieces)
        shown = [one for part in tokens for one in part]
        assert shown == list(range(len(shown)))
        if not stopped:
            assert len(shown) == len(pieces)

"""Encrypted, damaged and hostile PDFs: the right pages, or one clear message."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from groundtune.errors import InputError
from groundtune.ingest import pdf_page, pdf_streams
from groundtune.ingest.loaders import pdf
from loading import read

SENTENCE = "This page holds a sentence that is long enough to be a page of its own, and no stamp."
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 3 0 R>>>>>>"


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n" % (len(content), entries) + content + b"\nendstream"


def by_hand(path: Path, *pages: bytes, content: bytes = b"", count: int = 0) -> Path:
    """A PDF put together from objects; ``pages`` are the page objects."""
    kids = b" ".join(b"%d 0 R" % (5 + i) for i in range(len(pages)))
    content = content or stream(b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % SENTENCE.encode())
    tree = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count or len(pages))
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate((b"<</Type/Catalog/Pages 2 0 R>>", tree, FONT, content, *pages), start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
    tail = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(offsets) + 1, len(out))
    path.write_bytes(out + head + table + tail)
    return path


def encrypted(path: Path, *, user: str, owner: str = "owner") -> Path:
    from reportlab.lib import pdfencrypt  # type: ignore[import-untyped,unused-ignore]
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped,unused-ignore]

    canvas = Canvas(str(path), encrypt=pdfencrypt.StandardEncryption(user, owner, canCopy=0))
    canvas.drawString(72, 700, SENTENCE)
    canvas.save()
    return path


@pytest.mark.parametrize(
    ("user", "passwords"),
    [("", ()), ("geheim", ("falsch", "geheim")), ("schlüssel", ("schlüssel",)), ("geheim", ("owner",))],
    ids=["no password to open", "second password", "umlaut", "owner's password"],
)
def test_encrypted_files_open_with_a_password_that_fits(tmp_path: Path, user: str, passwords: tuple[str, ...]) -> None:
    (section,), lost = read(pdf, encrypted(tmp_path / "a.pdf", user=user), passwords=passwords)
    assert (section.text, lost) == (SENTENCE, ())


@pytest.mark.parametrize(
    ("passwords", "said"),
    [
        ((), "is encrypted: its password is not in ingest.passwords"),
        (("a",), "is encrypted, and the password in ingest.passwords does not open it"),
        (("a", "b"), "is encrypted, and none of the 2 passwords in ingest.passwords opens it"),
    ],
)
def test_encrypted_files_without_the_right_password_say_where_it_goes(
    tmp_path: Path, passwords: tuple[str, ...], said: str
) -> None:
    path = encrypted(tmp_path / "a.pdf", user="geheim")
    with pytest.raises(InputError) as caught:
        read(pdf, path, passwords=passwords)
    assert caught.value.problem == f"{path} {said}"
    assert "`ingest.passwords` in groundtune.yaml" in caught.value.next_step
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("bad", [b"null", b"42", b"<</Type/Font>>"])
def test_an_unreadable_page_costs_that_page_only(tmp_path: Path, bad: bytes) -> None:
    sections, lost = read(pdf, by_hand(tmp_path / "a.pdf", PAGE, bad, PAGE))
    assert [(s.page, s.text) for s in sections] == [(1, SENTENCE), (3, SENTENCE)]
    assert lost == ("page 2: damaged, cannot be read",)


def test_a_document_without_a_readable_page_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a damaged PDF: none of its 2 pages can be read"):
        read(pdf, by_hand(tmp_path / "a.pdf", b"null", b"null"))
    with pytest.raises(InputError, match="is a damaged PDF: none of its first 50 pages can be read"):
        read(pdf, by_hand(tmp_path / "b.pdf", b"null", count=900_000))


def test_pages_that_are_not_there_are_named_as_a_range(tmp_path: Path) -> None:
    sections, lost = read(pdf, by_hand(tmp_path / "a.pdf", PAGE, count=3_000))
    assert [s.page for s in sections] == [1]
    assert lost == ("pages 2-3000: damaged, cannot be read",)


def test_a_part_that_unpacks_to_hundreds_of_megabytes_is_refused_before_pdfium_sees_it(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    line = b"BT /F1 12 Tf 72 700 Td (Hello) Tj ET\n" * 20_000
    packed = b"".join(packer.compress(line) for _ in range(200)) + packer.flush()
    path = by_hand(tmp_path / "a.pdf", PAGE, content=stream(packed, b"/Filter/FlateDecode"))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="a part of it unpacks to over 64 MB"):
        read(pdf, path)
    assert pdf_streams.largest_over_limit(by_hand(tmp_path / "b.pdf", PAGE)) == 0


def test_text_that_maps_to_no_letters_is_no_text(tmp_path: Path) -> None:
    odd = stream(b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % (bytes(range(1, 9)) * 20))
    with pytest.raises(InputError, match="has no text on its 1 page"):
        read(pdf, by_hand(tmp_path / "a.pdf", PAGE, content=odd), ocr=False)


def test_bullets_from_a_font_of_signs_are_list_marks() -> None:
    assert pdf_page.plain("\x84 Bring a torch\x01.") == "\u2022 Bring a torch."
    assert pdf_page.plain("\ufb01ve o\ufb03ces\x00") == "five offices"


def test_mutated_files_end_in_text_or_one_message(tmp_path: Path) -> None:
    source = by_hand(tmp_path / "whole.pdf", PAGE, PAGE, PAGE).read_bytes()
    locked = encrypted(tmp_path / "locked.pdf", user="").read_bytes()
    dice, path, outcomes = random.Random(5), tmp_path / "a.pdf", {"text": 0, "refused": 0}
    for number in range(300):
        content = bytearray(locked if number % 3 == 0 else source)
        for _ in range(dice.choice((1, 3, 30))):
            at = dice.randrange(len(content))
            if number % 2:
                content[at] = dice.randrange(256)
            else:
                content[at : at + dice.randrange(1, 30)] = dice.randbytes(dice.randrange(20))
        path.write_bytes(content)
        try:
            read(pdf, path, ocr=False)
            outcomes["text"] += 1
        except InputError as error:
            assert str(path) in error.problem
            outcomes["refused"] += 1
    path.write_bytes(b"%PDF-1.7\n" + dice.randbytes(20_000) + b"\n%%EOF")
    with pytest.raises(InputError, match="is a damaged PDF"):
        read(pdf, path)
    assert min(outcomes.values()) > 20

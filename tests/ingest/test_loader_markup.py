"""Web pages, e-books, e-mail, RTF, AsciiDoc, LaTeX and XML, from files made here."""

from __future__ import annotations

import itertools
import zipfile
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType

from groundtune.errors import InputError
from groundtune.ingest import html_blocks
from groundtune.ingest.loaders import asciidoc, email, epub, html, jats, latex, markdown, rtf
from groundtune.records import Section
from loading import refusal, write


def blocks(page: str) -> list[str]:
    return [f"{'#' * block.level} {block.text}".strip() for block in html_blocks.blocks(page)]


def test_html_lists_keep_their_nesting_and_words_stay_apart() -> None:
    page = "<ul><li>one<ul><li>inner</li></ul></li><li>two<br>lines</li></ul><ol start=3><li>x</li></ol>"
    assert blocks(page) == ["- one\n  - inner\n- two lines", "3. x"]
    page = "<dl><dt>Term</dt><dd>its meaning</dd><dt>Two</dt><dd>a</dd><dd>b</dd><dt>Bare</dt></dl>"
    assert blocks(page) == ["- Term: its meaning\n- Two: a\n  - b\n- Bare"]


def test_html_tables_are_filled_and_frames_are_not_tables() -> None:
    page = (
        "<table><caption>Cap</caption><tr><th>A</th><th colspan=2>B</th></tr><tr><th rowspan=3>2025</th></tr>"
        "<tr><td>x<br>y</td><td>1</td></tr><tr><td>z</td><td>2</td></tr></table>"
    )
    assert blocks(page) == ["Cap", "| A | B | B |\n| 2025 | x y | 1 |\n| 2025 | z | 2 |"]
    assert blocks("<table><tr><td><h2>H</h2><p>text</p></td></tr></table>") == ["## H", "text"]


def test_html_with_its_text_among_menus_by_name_is_not_lost(tmp_path: Path) -> None:
    page = "<div class='nav-mobile-header'><div class='row'><h2><a href='/'>Home</a></h2></div></div>"
    assert [s.text for s in html.load(write(tmp_path / "a.html", f"<html><body>{page}</body></html>"))] == ["Home"]
    long = "".join(
        f"<div class='card'><span>Card {i} says this and that about boat {i}.</span></div>" for i in range(40)
    )
    page = f"<html><body><nav>Menu</nav><article><p>Short.</p></article><section>{long}</section></body></html>"
    text = "\n".join(s.text for s in html.load(write(tmp_path / "b.html", page)))
    assert all(f"about boat {i}." in text for i in range(40))
    assert "Menu" not in text


def test_markdown_reads_entities(tmp_path: Path) -> None:
    source = "# A &amp; B\n\n1 &lt; 2 &#x2014; AT&T &copy=1\n\n```\n&amp;\n```\n"
    assert list(markdown.load(write(tmp_path / "a.md", source))) == [
        Section("1 < 2 — AT&T &copy=1\n\n&amp;", heading="A & B"),
    ]


def make_epub(path: Path, *, lock: str = "") -> Path:
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>{}</body></html>'.format
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", '<c><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></c>')
        book.writestr(
            "O/c.opf",
            '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>The Book</dc:title></metadata><manifest>'
            '<item id="b" href="b%20two.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="p" href="p.png" media-type="image/png"/>'
            '<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="n"/><itemref idref="p"/><itemref idref="b"/></spine></package>',
        )
        book.writestr("O/nav.xhtml", page('<nav><a href="a.xhtml#x">From the contents</a></nav>'))
        book.writestr("O/a.xhtml", page("<p>First words &#8212; here.</p>"))
        book.writestr("O/b two.xhtml", page("<h1>Two</h1><h2>Part</h2><p>Second words.</p>"))
        if lock:
            book.writestr("META-INF/encryption.xml", f'<e><CipherReference URI="{lock}"/></e>')
    return path


def test_epub_follows_the_spine_and_takes_titles_from_the_contents(tmp_path: Path) -> None:
    assert list(epub.load(make_epub(tmp_path / "a.epub"))) == [
        Section("First words — here.", heading="The Book > From the contents"),
        Section("Second words.", heading="The Book > Two > Part"),
    ]
    assert len(list(epub.load(make_epub(tmp_path / "b.epub", lock="fonts/a.otf")))) == 2
    assert "is locked" in refusal(epub, make_epub(tmp_path / "c.epub", lock="O/a.xhtml"))


def test_rtf_gives_headings_tables_lists_and_any_code_page(tmp_path: Path) -> None:
    source = (
        r"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0 Arial;}}{\stylesheet{\s1\b heading 1;}}{\pard\s1 Top\par}"
        r"{\pard\outlinelevel1 Below\par}{\pard \'cf\'f0\'e8 \u8364? \{x\}\par}{\pict\pngblip "
        + "89504e47" * 40
        + r"}{\trowd\cellx1\cellx2\pard\intbl A\cell B\cell\row}{\pard end\par}}"
    )
    assert list(rtf.load(write(tmp_path / "a.rtf", source))) == [
        Section("При € {x}\n\n| A | B |\n\nend", heading="Top > Below"),
    ]
    assert "is not an RTF document" in refusal(rtf, write(tmp_path / "b.rtf", "plain words"))
    assert "has no text" in refusal(rtf, write(tmp_path / "c.rtf", r"{\rtf1 }"))


def make_mail() -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Grüße aus Łódź", "Ann <a@x.org>", "b@x.org"
    mail["Date"] = "Mon, 10 Oct 2022 05:14:09 -0700"
    mail.set_content("Guten Tag,\n\ndie Fähre fährt.\n", charset="iso-8859-1", cte="quoted-printable")
    mail.add_alternative("<p>Guten Tag,</p><p>die Fähre fährt.</p>", subtype="html")
    mail.add_attachment("Zeile eins", filename="notiz.txt", charset="utf-16", cte="base64")
    mail.add_attachment(b"\x89PNG" * 1_000, maintype="image", subtype="png", filename="bild.png")
    return mail


def test_email_gives_headers_text_and_attachments(tmp_path: Path) -> None:
    first, second = email.load(write(tmp_path / "a.eml", make_mail().as_bytes()))
    assert first.heading == "Grüße aus Łódź"
    head, *rest = first.text.split("\n\n")
    assert head.splitlines() == [
        "From: Ann <a@x.org>", "To: b@x.org", "Date: Mon, 10 Oct 2022 05:14:09 -0700",
        "Attachments: notiz.txt (text/plain, 1 KiB); bild.png (image/png, 3 KiB)",
    ]  # fmt: skip
    assert rest == ["Guten Tag,", "die Fähre fährt."]
    assert second == Section("Zeile eins", heading="Grüße aus Łódź > notiz.txt")


def test_email_takes_the_page_where_the_plain_text_says_little_and_reads_utf_16(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "News"
    mail.set_content("See the web page.")
    mail.add_alternative(
        "<h1>All of it</h1><ul><li>Boats sail at nine in the morning</li><li>and at ten too</li></ul>", subtype="html"
    )
    whole = write(tmp_path / "a.eml", mail.as_string().encode("utf-16"))
    assert [s.text for s in email.load(whole)][-1] == "- Boats sail at nine in the morning\n- and at ten too"


def test_mbox_gives_mail_after_mail(tmp_path: Path) -> None:
    def one(i: int) -> bytes:
        return f"From a@b Mon Oct 10\nFrom: a@b\nSubject: Mail {i}\n\nText {i}\n>From the top.\n\n".encode()

    sections = list(email.load(write(tmp_path / "a.mbox", b"".join(map(one, range(300))))))
    assert [(s.row, s.heading) for s in sections[:2]] == [(1, "Mail 0"), (2, "Mail 1")]
    assert len(sections) == 300
    assert sections[-1].text == "From: a@b\n\nText 299\nFrom the top."
    attached = EmailMessage()
    attached["Subject"] = "Outer"
    attached.set_content("See below.")
    attached.add_attachment(make_mail())
    assert [s.heading for s in email.load(write(tmp_path / "b.eml", attached.as_bytes()))][:2] == [
        "Outer",
        "Outer > Grüße aus Łódź",
    ]
    assert "has no header lines" in refusal(email, write(tmp_path / "c.eml", "just words\n"))


ADOC = """= Guide
Ann Author <a@b.c>
:product: Tool X

About {product}: *bold*, _it_, `code`, snake_case_name, C++ and 2 * 3 * 4.
See https://x.org[the site], link:b.html[a page] and <<s,Section One>>.

// gone
////
gone too
////
[[s]]
== Section One

NOTE: Be careful.

* a
** b
* c
+
goes on

. one
. two

Term:: Meaning

.Fares
[cols="1,2",options="header"]
|===
|A |B

|1
|two

2+|wide
.2+|r |x
|y
|===

[source,python]
----
def f(): # <1>
    return *x*
----

Two Lines
---------

Last.footnote:[A note]
"""


def test_asciidoc(tmp_path: Path) -> None:
    first, second, third = asciidoc.load(write(tmp_path / "a.adoc", ADOC))
    assert first.text.split("\n\n") == [
        "Ann Author <a@b.c>",
        "About Tool X: bold, it, code, snake_case_name, C++ and 2 * 3 * 4. "
        "See the site (https://x.org), a page and Section One.",
    ]
    assert second.heading == "Guide > Section One"
    assert second.text.split("\n\n") == [
        "NOTE: Be careful.", "- a\n  - b\n- c goes on\n1. one\n2. two\n- Term: Meaning", "Fares",
        "| A | B |\n| 1 | two |\nwide\n| r | x |\n| r | y |", "def f():\n    return *x*",
    ]  # fmt: skip
    assert third == Section("Last. (A note)", heading="Guide > Two Lines")
    assert "has no text" in refusal(asciidoc, write(tmp_path / "b.adoc", "// nothing\n"))


TEX = r"""\documentclass{article} % gone
\newcommand{\ours}{\textsc{Tool}\xspace}
\newcommand{\vect}[2][x]{\mathbf{#1_#2}}
\title{A \emph{Title}\thanks{Money}}
\author{J\"urgen M\"uller \and Zo\'{e}\\ University}
\begin{document}
\maketitle
\begin{abstract}
We present \ours, 50\% better~\cite{a,b}. % gone
\end{abstract}
\section{Intro}\label{s}
Some $x_1 = \vect{3}$ and \verb|a_b{|, see \ref{fig:a}\footnote{A note.}.
% gone
Still here: ``quoted'' --- \href{https://x.org/a}{here}.
\begin{itemize}
\item One
  \begin{enumerate}\item inner \item more\end{enumerate}
\item[Two] second
\end{itemize}
\begin{table}\caption{Fares \textbf{now}}
\begin{tabular}{|l|r|}
\hline A & 1\% \\ \multicolumn{2}{c}{wide} \\ \multirow{2}{*}{B} & 2 \& 3 \\[2pt]
\end{tabular}\end{table}
\begin{align*}
a &= b \\ c &= d \label{eq}
\end{align*}
\begin{verbatim}
int main() { % stays
\end{verbatim}
\begin{tikzpicture}gone\end{tikzpicture}
\begin{thebibliography}{9}\bibitem{a} Someone. \textit{Book}.\end{thebibliography}
\end{document}
gone"""


def test_latex(tmp_path: Path) -> None:
    title, abstract, intro, references = latex.load(write(tmp_path / "a.tex", TEX))
    assert title == Section("Jürgen Müller, Zoé\nUniversity", heading="A Title")
    assert abstract == Section("We present Tool, 50% better [a,b].", heading="A Title > Abstract")
    assert intro.text.split("\n\n") == [
        "Some $x_1 = \\mathbf{x_3}$ and a_b{, see [fig:a] (A note.). Still here: “quoted” — here (https://x.org/a).",
        "- One\n  1. inner\n  2. more\n- Two second", "Fares now", "| A | 1% |\nwide\n| B | 2 & 3 |",
        "$$a &= b \\\\ c &= d$$", "int main() { % stays",
    ]  # fmt: skip
    assert references == Section("[a] Someone. Book.", heading="A Title > References")
    assert "gone" not in "".join(s.text for s in (title, abstract, intro, references))


def test_latex_macros_that_grow_without_end_are_stopped(tmp_path: Path) -> None:
    names = [chr(ord("a") + i) for i in range(12)]
    pairs = itertools.pairwise(names)
    source = "".join(f"\\newcommand{{\\m{a}}}{{" + f"\\m{b}" * 50 + "}" for a, b in pairs)
    text = only(latex, write(tmp_path / "a.tex", f"{source}\\begin{{document}}words \\ma\\end{{document}}")).text
    assert text.startswith("words")
    assert len(text) < 200_000


def only(loader: ModuleType, path: Path) -> Section:
    (section,) = loader.load(path)
    return section  # type: ignore[no-any-return]


ARTICLE = """<?xml version="1.0"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS" "missing.dtd">
<article xmlns:mml="http://www.w3.org/1998/Math/MathML"><front><article-meta><title-group><article-title>On <italic>Boats</italic>
</article-title></title-group><contrib-group><contrib contrib-type="author"><name><surname>Low</surname><given-names>Ann</given-names>
</name></contrib></contrib-group><abstract><p>Short&nbsp;said.</p></abstract></article-meta></front><body><sec><label>1</label>
<title>Intro</title><p>See <xref>[1]</xref>:<list list-type="order"><list-item><p>first</p></list-item></list>then <inline-formula>
<alternatives><mml:math><mml:mi>x</mml:mi></mml:math><graphic/></alternatives></inline-formula>.</p><sec><title>Deep</title><table-wrap>
<label>Table 1</label><caption><title>Fares</title></caption><table><tr><th rowspan="2">A</th><td>1</td></tr><tr><td>2</td></tr></table>
</table-wrap></sec></sec></body><back><ref-list><ref><label>1</label><element-citation><person-group><name><surname>Moe</surname>
<given-names>B</given-names></name></person-group><article-title>Sails</article-title><year>1999</year></element-citation></ref></ref-list>
</back></article>"""


def test_jats(tmp_path: Path) -> None:
    sections = list(jats.load(write(tmp_path / "a.nxml", ARTICLE)))
    assert sections == [
        Section("Ann Low", heading="On Boats"),
        Section("Short said.", heading="On Boats > Abstract"),
        Section("See [1]:\n\n1. first\n\nthen x .", heading="On Boats > 1 Intro"),
        Section("Table 1 Fares\n\n| A | 1 |\n| A | 2 |", heading="On Boats > 1 Intro > Deep"),
        Section("1 Moe B. Sails. 1999", heading="On Boats > References"),
    ]


def test_other_xml_gives_its_text_in_order(tmp_path: Path) -> None:
    source = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r><boat id="7"><name lang="en">Puffin</name><p>Small <b>and</b> fast&x;.</p></boat><flag set="yes"/></r>'
    assert (
        only(jats, write(tmp_path / "a.xml", source)).text
        == "boat: id=7\nname (lang=en): Puffin\nSmall and fast.\n\nflag: set=yes"
    )
    levels = "".join(f"<!ENTITY e{i + 1} '" + f"&e{i};" * 10 + "'>" for i in range(9))
    bomb = f"<!DOCTYPE r [<!ENTITY e0 '{'x' * 1_000}'>{levels}]><r><p>words &e9;</p></r>"
    try:
        text = only(jats, write(tmp_path / "b.xml", bomb)).text
    except InputError as error:  # newer libxml2 finds it out
        text = error.problem
    assert len(text) < 500
    assert "is damaged" in refusal(jats, write(tmp_path / "c.xml", "<a>" * 5_000))
    assert "has no text" in refusal(jats, write(tmp_path / "d.xml", "<a><b/></a>"))


def test_a_short_page_keeps_its_headings_and_loses_its_menu(tmp_path: Path) -> None:
    page = tmp_path / "fees.html"
    page.write_text(
        "<html><body><nav>Home | News | Contact</nav><main><h1>Mooring fees</h1>"
        "<p>A visitor mooring costs 23 crowns a night.</p></main></body></html>",
        encoding="utf-8",
    )
    (section,) = html.load(page)
    assert section.heading == "Mooring fees"
    assert section.text == "A visitor mooring costs 23 crowns a night."


def test_a_mail_with_a_header_of_broken_bytes_is_read(tmp_path: Path) -> None:
    mail = tmp_path / "a.eml"
    mail.write_bytes(
        b"Subject: Rooms\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nWe open at 9:30.\r\n"
        b'--b\r\nContent-Transfer-Encoding: base\xff64\r\nContent-Disposition: attachment; filename="a.txt"\r\n\r\nQQ==\r\n--b--\r\n'
    )
    assert "We open at 9:30." in "\n".join(section.text for section in email.load(mail))

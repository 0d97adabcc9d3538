"""How well files are read: every file of a folder of test documents, by groundtune and beside it markitdown and docling.

    python tools/ingest_scores.py [--data ../shared/evalsets/ingest_docs] [--markitdown PYTHON] [--docling PYTHON] [--json]

Prints two Markdown tables: the scores of ``docling_sources`` against ``docling_groundtruth_md``, a row a format and a row
a file, and every file of all folders with what groundtune made of it. ``--json`` prints the same as one JSON object.

Score: token F1. Text and reference are brought to NFKC, Markdown marks are taken off (pictures, comments, HTML tags,
table rules, heading, list and quote marks, emphasis, code fences, backslashes; a link keeps its text, an entity becomes
its character), and what remains is lower-cased and cut into tokens, runs of letters or digits. With both as bags of
tokens, overlap is the sum over all tokens of the smaller count; precision = overlap / tokens of the text, recall =
overlap / tokens of the reference, F1 their harmonic mean, 0 to 1; two empty texts score 1. Order does not count. A file
that a reader refuses, or has not read in ``--limit`` seconds, scores 0.

The references were written by docling itself: they favour its choices (what it leaves out, how it writes tables). Each
reader runs in an interpreter of its own, given on the command line; what is absent is left out, and said.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import selectors
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "shared" / "evalsets" / "ingest_docs"
FOLDERS = ("docling_sources", "docling_groundtruth_md", "pypdf", "unstructured")
NOTE = "The references were written by docling itself; a file that is refused scores 0."
_START_SECONDS = 180
_MARKS = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>]*>"), " "),
    (re.compile(r"^[\s|:-]+$", re.MULTILINE), " "),
    (re.compile(r"\\(?=[^\w\s])"), ""),
)


def tokens(text: str) -> Counter[str]:
    """The bag of tokens of a Markdown text, as described above."""
    text = unicodedata.normalize("NFKC", text)
    for pattern, replacement in _MARKS:
        text = pattern.sub(replacement, text)
    return Counter(re.findall(r"[^\W_]+", html.unescape(text).lower()))


def token_f1(text: str, reference: str) -> float:
    found, wanted = tokens(text), tokens(reference)
    if not found and not wanted:
        return 1.0
    overlap = (found & wanted).total()
    return 2 * overlap / (found.total() + wanted.total())


# --- readers: run by the interpreter of each, with this file as script --------------------------------------------------


def groundtune_reader() -> Callable[[Path], tuple[str, str]]:
    """The text of all sections with each new heading before its text, and what the loader says it left out."""
    from groundtune import registry
    from groundtune.errors import InputError

    modules = {name: registry.get("loaders", name) for name in registry.names("loaders")}
    loaders = {extension: module for module in modules.values() for extension in module.EXTENSIONS}

    def read(path: Path) -> tuple[str, str]:
        loader = loaders.get(path.suffix.lower())
        if loader is None:
            raise InputError(f"no loader for {path.suffix or 'files without an extension'}")
        parts: list[str] = []
        above: list[str] = []
        sections = loader.load(path)
        while True:
            try:
                section = next(sections)
            except StopIteration as stop:
                return "\n\n".join(parts), "; ".join(stop.value or ())
            headings = section.heading.split(" > ") if section.heading else []
            same = next((i for i, (a, b) in enumerate(zip(headings, above)) if a != b), min(len(headings), len(above)))  # noqa: B905
            parts += [h for h in headings[same:] if h not in section.text]
            parts.append(section.text)
            above = headings

    return read


def markitdown_reader() -> Callable[[Path], tuple[str, str]]:
    from markitdown import MarkItDown

    converter = MarkItDown(enable_plugins=False)
    return lambda path: (converter.convert_local(str(path)).text_content, "")


def docling_reader() -> Callable[[Path], tuple[str, str]]:
    from docling.document_converter import DocumentConverter  # type: ignore[import-not-found,unused-ignore]

    converter = DocumentConverter()
    return lambda path: (converter.convert(path).document.export_to_markdown(), "")


READERS = {"groundtune": groundtune_reader, "markitdown": markitdown_reader, "docling": docling_reader}


def work(name: str) -> None:
    """Read the paths that come in, one a line, and answer each with one line of JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the readers print does not disturb
    read = READERS[name]()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        _reset_peak()
        start = time.perf_counter()
        answer: dict[str, Any] = {}
        try:
            answer["text"], answer["left_out"] = read(Path(line.rstrip("\n")))
        except Exception as error:
            refusal = " ".join(str(getattr(error, "problem", error)).replace(line.rstrip("\n"), "").split())
            expected = type(error).__name__ in ("InputError", "GroundtuneError")
            answer["error"] = refusal if expected else f"{type(error).__name__}: {refusal}"
            answer["crash"] = not expected
        answer["seconds"], answer["peak_bytes"] = time.perf_counter() - start, _peak()
        print(json.dumps(answer), file=answers, flush=True)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux: the peak is that of the process so far
        return


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


# --- the run ------------------------------------------------------------------------------------------------------------


class Reader:
    """A worker process that reads files; started again when a file takes too long or ends it."""

    def __init__(self, name: str, python: str, limit_seconds: float) -> None:
        self.name, self.python, self.limit = name, python, limit_seconds
        self.process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> dict[str, Any]:
        if self.process is None:
            self._start()
        process = self.process
        assert process and process.stdin
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        answer = self._answer(self.limit)
        if answer is None:
            how = "ended its process" if process.poll() is not None else f"not read in {self.limit:.0f} s"
            self.close()
            return {"error": how, "crash": True, "seconds": self.limit, "peak_bytes": 0}
        return answer

    def _start(self) -> None:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # docling fails at once where its models are not there
        self.process = subprocess.Popen(
            [self.python, __file__, "--worker", self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8", env=environment,
        )  # fmt: skip
        if self._answer(_START_SECONDS) is None:
            self.close()
            raise SystemExit(f"{self.python} cannot run {self.name}: try {self.python} -c 'import {self.name}'")

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        assert self.process and self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(seconds) else ""
        return json.loads(line) if line else None

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def references(data: Path) -> Iterator[tuple[Path, Path]]:
    """Each source with its reference, where it has one."""
    for source in sorted((data / "docling_sources").iterdir()):
        name = source.name.replace("__sources__", "__groundtruth__")
        for reference in (f"{name}.md", f"{name.removesuffix(source.suffix)}.md"):
            if (path := data / "docling_groundtruth_md" / reference).exists():
                yield source, path
                break


def score(data: Path, readers: list[Reader]) -> list[dict[str, Any]]:
    rows = []
    for source, reference in references(data):
        wanted = reference.read_text(encoding="utf-8")
        row: dict[str, Any] = {"file": source.name.rpartition("__")[2], "format": source.suffix[1:]}
        for reader in readers:
            answer = reader.read(source)
            text = answer.get("text")
            row[reader.name] = {
                "f1": token_f1(text, wanted) if text is not None else 0.0,
                "seconds": answer["seconds"],
                "error": answer.get("error", ""),
            }
        rows.append(row)
    return rows


def read_all(data: Path, reader: Reader) -> list[dict[str, Any]]:
    out = []
    for path in (p for folder in FOLDERS for p in sorted((data / folder).iterdir()) if p.is_file()):
        answer = reader.read(path)
        text = answer.pop("text", None)
        out.append(
            {"file": f"{path.parent.name}/{path.name}", "characters": None if text is None else len(text), **answer}
        )
    return out


def by_format(rows: list[dict[str, Any]], names: list[str]) -> Iterator[list[str]]:
    formats = sorted({row["format"] for row in rows})
    for kind in [*formats, "all"]:
        of_kind = [row for row in rows if kind in (row["format"], "all")]
        cells = []
        for name in names:
            failed = sum(bool(row[name]["error"]) for row in of_kind)
            mean = sum(row[name]["f1"] for row in of_kind) / len(of_kind)
            cells.append(f"{mean:.3f}{f' ({failed} refused)' if failed else ''}")
        yield [kind, str(len(of_kind)), *cells]


def table(header: list[str], rows: Iterator[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def score_cells(row: dict[str, Any], names: list[str]) -> list[str]:
    return [
        row["format"],
        row["file"],
        *(f"{row[n]['f1']:.3f}" if not row[n]["error"] else f"0: {row[n]['error'][:90]}" for n in names),
    ]


def outcome(entry: dict[str, Any]) -> str:
    if entry["characters"] is None:
        return f"{'CRASH: ' if entry['crash'] else ''}{entry['error']}"
    left_out = f"; {entry['left_out']}" if entry["left_out"] else ""
    return f"in ({entry['characters']:,} characters{left_out})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the four folders of documents")
    parser.add_argument("--markitdown", metavar="PYTHON", help="interpreter that has markitdown")
    parser.add_argument("--docling", metavar="PYTHON", help="interpreter that has docling")
    parser.add_argument("--limit", type=float, default=60, help="seconds a file may take")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--worker", choices=READERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
        return
    if not (given.data / FOLDERS[0]).is_dir():
        raise SystemExit(f"{given.data} has no folder {FOLDERS[0]}: name the test documents with --data")
    interpreters = {"groundtune": sys.executable, "markitdown": given.markitdown, "docling": given.docling}
    absent = [name for name, python in interpreters.items() if not python]
    readers = [Reader(name, python, given.limit) for name, python in interpreters.items() if python]
    try:
        rows, files = score(given.data, readers), read_all(given.data, readers[0])
    finally:
        for reader in readers:
            reader.close()
    names = [reader.name for reader in readers]
    crashes = sum(bool(entry.get("crash")) for entry in files)
    if given.json:
        print(
            json.dumps({"note": NOTE, "absent": absent, "scores": rows, "files": files, "crashes": crashes}, indent=1)
        )
        return
    print(f"Token F1 against docling's own Markdown. {NOTE}")
    print(*(f"{name}: absent, left out (--{name} PYTHON)." for name in absent), sep="\n", end="\n\n")
    print(table(["format", "files", *names], by_format(rows, names)), end="\n\n")
    print(table(["format", "file", *names], (score_cells(row, names) for row in rows)), end="\n\n")
    listed = ([e["file"], outcome(e), f"{e['seconds']:.2f}", f"{e['peak_bytes'] >> 20}"] for e in files)
    print(table(["file", "groundtune", "seconds", "peak MB"], listed))
    print(f"\n{len(files)} files, {sum(e['characters'] is not None for e in files)} in, {crashes} crashes or hangs.")


if __name__ == "__main__":
    main()

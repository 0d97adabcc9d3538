"""What happens to a document's sections between its loader and the disk, and what is said of it over all documents.

Puts the parts together: characters and repeated lines (``clean``), personal data (``redact``), language, duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from groundtune.config import IngestConfig
from groundtune.ingest.clean import CleaningReport, Tally, clean_sections
from groundtune.ingest.clean_lines import SiteLines
from groundtune.ingest.clean_report import KINDS, NO_CHANGES
from groundtune.ingest.duplicates import DocumentSigner
from groundtune.ingest.language import language_of
from groundtune.ingest.redact import redact, redact_sections
from groundtune.ingest.redact_names import names_of
from groundtune.ingest.section_files import rewrite, sections_of
from groundtune.ingest.sources import is_address
from groundtune.records import Section

_SAMPLE_CHARACTERS = 20_000
_TWINS_SHOWN = 3
#: kinds of personal data that are always counted; names only where a list is given
_PERSONAL = ("email", "phone", "iban", "card")


class Cleaner:
    """Cleans one document's sections as they go by, and collects what is known of it at the end.

    Args:
        settings: what to take out.
        names: to look for as personal data.
    """

    def __init__(self, settings: IngestConfig, names: Sequence[str] = ()) -> None:
        self.settings = settings
        self.names = names_of(names) if names else None
        self.changes, self.personal = Tally(), Tally()
        self.signer = DocumentSigner()
        self._sample = ""

    def clean(self, sections: Iterable[Section]) -> Iterator[Section]:
        """The sections as they are to be kept."""
        wanted = self.settings.redact
        kinds = [*_PERSONAL, *(["name"] if self.names else [])]
        cleaned = clean_sections(sections, self.changes, boilerplate=self.settings.boilerplate)
        redacted = redact_sections(cleaned, [k for k in kinds if k in wanted], self.names, self.personal)
        rest = [k for k in kinds if k not in wanted]
        counted = redact_sections(redacted, rest, self.names, self.personal, change=False)
        for section in self.signer.passing(counted):
            if len(self._sample) < _SAMPLE_CHARACTERS:
                self._sample += section.text[:_SAMPLE_CHARACTERS] + "\n"
            yield section

    def about(self) -> dict[str, Any]:
        """What goes into the document's first line: language, what was changed and found, signature."""
        code, _ = language_of(self._sample)
        return {
            "language": code,
            "changes": self._masked(self.changes).to_json(),
            "personal": self.personal.report().to_json(),
            "signature": self.signer.finish().to_json(),
        }

    def redacted(self, text: str) -> str:
        """A text about the document, such as its title, without the personal data that is to go."""
        return redact(text, self.settings.redact, self.names)[0] if self.settings.redact else text

    def _masked(self, tally: Tally) -> CleaningReport:
        """Samples of changes may hold what is to be redacted, so they are redacted too."""
        return tally.report().with_samples(self.redacted)


def without_site_lines(folder: Path, heads: Sequence[dict[str, Any]]) -> None:
    """Take the lines that repeat over the pages of one site out of their files; the heads count them.

    Args:
        folder: where the documents' files are.
        heads: of all documents; those whose path is a web address are looked at.
    """
    sites: dict[str, list[dict[str, Any]]] = {}
    for head in heads:
        if is_address(head["path"]):
            sites.setdefault(urlsplit(head["path"]).netloc, []).append(head)
    for pages in sites.values():
        repeated = SiteLines()
        for head in pages:
            repeated.add(sections_of(folder / f"{head['id']}.jsonl"))
        for head in pages if repeated.found else ():
            file, tally = folder / f"{head['id']}.jsonl", Tally()
            rest = repeated.without(head["path"], sections_of(file), tally)
            if changes := tally.report().to_json():
                head["changes"] = {**head["changes"], **changes}
                rewrite(file, head, rest)


def merge(
    heads: Iterable[Mapping[str, Any]], redacted: Sequence[str], near_twins: Sequence[str] = ()
) -> dict[str, Any]:
    """Over all documents: changes and personal data by kind, languages by number of documents.

    Args:
        heads: the first lines of the documents' files.
        redacted: the kinds of personal data that were replaced.
        near_twins: a sentence on each document that is like another and was kept.
    """
    changes, personal = NO_CHANGES, NO_CHANGES
    languages: Counter[str] = Counter()
    for head in heads:
        changes += CleaningReport.from_json(head["changes"])
        personal += CleaningReport.from_json(head["personal"])
        languages[head["language"]] += 1
    return {
        "changes": changes.to_json(),
        "personal": personal.to_json(),
        "redacted": list(redacted),
        "languages": dict(languages.most_common()),
        "near_twins": list(near_twins),
    }


def in_words(cleaning: Mapping[str, Any]) -> list[str]:
    """A report of :func:`merge` as lines for people; none where nothing was changed or found."""
    changes, personal = cleaning.get("changes", {}), cleaning.get("personal", {})
    lines = [f"cleaned {changes[kind]['count']:,} {text}" for kind, text in KINDS.items() if kind in changes]
    found = [kind for kind in KINDS if kind in personal]
    done = [kind for kind in found if kind in cleaning["redacted"]]
    open_ = [kind for kind in found if kind not in cleaning["redacted"]]
    if done:
        lines.append(f"redacted {_counted(personal, done)}")
    if open_:
        lines.append(f"personal data found: {_counted(personal, open_)} (--redact {','.join(open_)} replaces them)")
    languages = cleaning.get("languages", {})
    if len(languages) > 1:
        lines.append("languages: " + ", ".join(f"{code} {count}" for code, count in languages.items()))
    twins = cleaning.get("near_twins", ())
    lines += [f"near twin: {twin}" for twin in twins[:_TWINS_SHOWN]]
    if len(twins) > _TWINS_SHOWN:
        lines.append(f"near twin: {len(twins) - _TWINS_SHOWN} more (--json lists them)")
    return lines


def _counted(report: Mapping[str, Any], kinds: Iterable[str]) -> str:
    return ", ".join(f"{report[kind]['count']:,} {KINDS[kind]}" for kind in kinds)

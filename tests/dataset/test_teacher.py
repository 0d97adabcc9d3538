"""The teacher: what is taken of its replies, that nothing is paid for twice, and that limits hold."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.build.build import Source, assemble
from groundtune.dataset.build.teacher import (
    TOKENS_A_PAIR,
    BackendTeacher,
    Prices,
    estimate,
    read_journal,
    taught_facts,
    teach,
)
from groundtune.dataset.build.teacher_prompts import TeacherChunk, prompt_of, teacher_chunks
from groundtune.dataset.build.teacher_replies import check_reply, pairs_in
from groundtune.dataset.examples import read_examples
from groundtune.errors import GroundtuneError, InputError
from groundtune.records import Completion, Document, Generation, Message, Section, Usage

PASSAGE = (
    "The reading rooms open at 9:30 on weekdays. A yearly card costs 48 crowns. Lost cards are “replaced” at once."
)
GOOD = {"question": "What does a yearly card cost?", "other_wording": "How much is a card for a year?", "answer": "48 crowns", "quote": "A yearly card costs 48 crowns."}  # fmt: skip


def checked(*pairs: dict[str, Any]) -> tuple[list[Any], list[str]]:
    taken, rejected = check_reply(json.dumps(pairs), PASSAGE, place="x")
    return taken, [r.reason for r in rejected]


def test_a_supported_pair_is_taken_with_the_sentence_that_supports_it() -> None:
    ((pair,), rejects) = checked(GOOD)
    assert pair.questions == (GOOD["question"], GOOD["other_wording"]) and pair.answer == "48 crowns"
    assert pair.passage == "A yearly card costs 48 crowns." and not rejects


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quote": "A yearly card costs 49 crowns."}, "the quote is not in the passage"),
        ({"answer": "49 crowns"}, "the answer is not in the quote"),
        ({"answer": "9:30"}, "the answer is not in the quote"),  # in the passage, not in the quote
        ({"answer": ""}, "no answer"),
        ({"quote": ""}, "no quote"),
        ({"quote": None}, "no quote"),
        ({"answer": "yes"}, "the answer is not in the quote"),
        ({"answer": "48 crowns " * 20}, "the answer is long"),
        ({"question": "According to the passage, what does a card cost?"}, "the question points to the passage"),
        ({"question": "Is the cost of a card 48 crowns?"}, "the question tells the answer"),
        ({"question": "Cost?"}, "the question has too few or too many words"),
    ],
)
def test_an_unsupported_pair_is_rejected_with_its_reason(change: dict[str, Any], reason: str) -> None:
    taken, reasons = checked({**GOOD, **change})
    assert (taken, reasons) == ([], [reason])


def test_quotes_are_compared_without_regard_to_marks_and_spaces() -> None:
    pair = {
        "question": "How are lost cards treated?",
        "answer": "replaced at once",
        "quote": 'lost  cards are "replaced" at once',
    }
    (found,), _ = checked(pair)
    assert found.passage == "Lost cards are “replaced” at once."


def test_a_quote_over_two_sentences_brings_both() -> None:
    pair = {**GOOD, "quote": "on weekdays. A yearly card costs 48 crowns"}
    assert checked(pair)[0][0].passage == PASSAGE.partition(" Lost")[0]


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps([GOOD]),
        "```json\n" + json.dumps([GOOD]) + "\n```",
        "Sure! Here you are: " + json.dumps({"questions": [GOOD]}) + " Anything else?",
        json.dumps(GOOD),
        json.dumps([GOOD, {"question": "cut off"}])[:-3],
        "[1] see {this}: " + json.dumps([GOOD]),
        json.dumps({"data": {"items": [GOOD]}}),
        json.dumps([{"q": GOOD["question"], "a": GOOD["answer"], "evidence": GOOD["quote"]}]),
    ],
)
def test_replies_are_read_however_they_are_wrapped(reply: str) -> None:
    taken, _ = check_reply(reply, PASSAGE, place="x")
    assert [p.questions[0] for p in taken] == [GOOD["question"]]


@pytest.mark.parametrize(
    "reply", ["", "I cannot.", "{", "[" * 5000, '{"question": 3}', "null", '"question"', "\x00{\x01"]
)
def test_replies_without_pairs_are_listed(reply: str) -> None:
    taken, rejected = check_reply(reply, PASSAGE, place="a.md, section 1")
    assert not taken and len(rejected) == 1 and rejected[0].place == "a.md, section 1"
    assert list(pairs_in("[]")) == [] and check_reply("[ ]", PASSAGE, place="x") == ([], [])


class Teacher:
    """A System that answers from a table by what stands in the prompt, and counts what it is asked."""

    name, description = "stub", "a stub"

    def __init__(self, faults: int = 0, lasting: bool = False) -> None:
        self.asked: list[str] = []
        self.faults, self.lasting = faults, lasting
        self._lock = threading.Lock()

    def answer(self, messages: Sequence[Message]) -> Completion:
        with self._lock:
            self.asked.append(messages[-1].content)
            if self.faults:
                self.faults -= 1
                error = GroundtuneError("busy")
                error.transient = not self.lasting  # type: ignore[attr-defined]
                raise error
        number = messages[-1].content.rsplit("thing ", 1)[1].split()[0]
        quote = f"The price of thing {number} is {number} crowns."
        pair = {"question": f"What is the price of article {number}?", "answer": f"{number} crowns", "quote": quote}
        return Completion(json.dumps([pair]), usage=Usage(100, 50))

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        return [self.answer(c) for c in conversations]


def chunks(count: int) -> list[TeacherChunk]:
    return [TeacherChunk(f"d{n}.md", "T", 1, f"The price of thing {n} is {n} crowns.") for n in range(count)]


def test_what_is_finished_is_not_asked_again(tmp_path: Path) -> None:
    journal = tmp_path / "teacher.jsonl"
    first = Teacher()
    made = teach(first, chunks(5), journal)
    assert len(made.pairs) == 5 and len(first.asked) == 5 and made.usage == Usage(500, 250)
    again = Teacher()
    more = teach(again, chunks(8), journal)
    assert len(more.pairs) == 8 and len(again.asked) == 3
    assert [c.document for c, _ in more.pairs] == [f"d{n}.md" for n in range(8)]  # in the order of the documents
    other = Teacher()
    other.name = "another"  # type: ignore[misc]
    teach(other, chunks(8), journal)
    assert len(other.asked) == 8
    assert len(teach(Teacher(), chunks(8), journal, questions=4).pairs) == 8  # another prompt is asked anew


def test_a_line_that_a_kill_cut_short_is_asked_again_and_spoils_no_other(tmp_path: Path) -> None:
    journal = tmp_path / "teacher.jsonl"
    teach(Teacher(), chunks(4), journal, concurrency=1)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    again = Teacher()
    assert len(teach(again, chunks(4), journal).pairs) == 4 and len(again.asked) == 1
    assert len(read_journal(journal)) == 4


def test_the_same_passage_twice_is_asked_once(tmp_path: Path) -> None:
    teacher = Teacher()
    made = teach(teacher, [*chunks(2), *chunks(2)], tmp_path / "j")
    assert len(teacher.asked) == 2 and len(made.pairs) == 4
    assert len(assemble(taught_facts(made)).examples) == 2


def test_passing_faults_are_tried_again_and_then_left(tmp_path: Path) -> None:
    waits: list[float] = []
    made = teach(Teacher(faults=2), chunks(3), tmp_path / "a", concurrency=1, sleep=waits.append)
    assert len(made.pairs) == 3 and made.failed == 0 and len(waits) == 2 and waits[1] > waits[0]
    made = teach(Teacher(faults=3), chunks(3), tmp_path / "b", concurrency=1, sleep=waits.append)
    assert len(made.pairs) == 2 and made.failed == 1
    with pytest.raises(GroundtuneError):  # an endpoint that is down ends the run
        teach(Teacher(faults=99), chunks(9), tmp_path / "c", concurrency=1, sleep=waits.append)


def test_a_lasting_fault_ends_the_run_and_keeps_what_was_finished(tmp_path: Path) -> None:
    teacher = Teacher()
    teach(teacher, chunks(2), tmp_path / "j")
    broken = Teacher(faults=1, lasting=True)
    with pytest.raises(GroundtuneError):
        teach(broken, chunks(5), tmp_path / "j", concurrency=1)
    assert len(broken.asked) == 1 and len(read_journal(tmp_path / "j")) == 2


def test_the_limit_of_money_is_kept(tmp_path: Path) -> None:
    prices = Prices(1000, 1000)  # a tenth of a cent a token: 0.15 dollars a reply as the stub counts
    teacher = Teacher()
    made = teach(teacher, chunks(9), tmp_path / "j", prices=prices, max_usd=3, concurrency=1)
    assert made.usd is not None and 0 < made.usd <= 3 and made.left == 9 - len(teacher.asked) > 0
    with pytest.raises(InputError, match="no price"):
        teach(Teacher(), chunks(1), tmp_path / "k", max_usd=1)


def test_the_estimate_counts_what_is_left(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    before = estimate(chunks(4), journal, teacher="stub", questions=3, prices=Prices(2, 8))
    assert (before.chunks, before.done) == (4, 0)
    assert before.usage.completion_tokens == 4 * 3 * TOKENS_A_PAIR
    assert before.usd == pytest.approx((before.usage.prompt_tokens * 2 + before.usage.completion_tokens * 8) / 1e6)
    teach(Teacher(), chunks(3), journal)
    after = estimate(chunks(4), journal, teacher="stub", questions=3, prices=None)
    assert (after.done, after.usd) == (3, None) and after.usage.prompt_tokens == before.usage.prompt_tokens / 4


def test_never_more_requests_at_a_time_than_allowed(tmp_path: Path) -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Slow(Teacher):
        def answer(self, messages: Sequence[Message]) -> Completion:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return super().answer(messages)

    teach(Slow(), chunks(12), tmp_path / "j", concurrency=3)
    assert most == 3


def test_documents_become_passages_of_bounded_size() -> None:
    text = " ".join(f"Sentence number {n} says a little." for n in range(200))
    rows = [Section(f"item: kayak {n}; price: {n}", row=n) for n in range(1, 60)]
    document = Document("a.md", "a.md", "0", "md", "A", 1)
    sources: list[Source] = [(document, lambda: [Section(text, page=3, heading="A > B"), *rows])]
    made = list(teacher_chunks(sources, chunk_tokens=100))
    assert {c.page for c in made if c.row is None} == {3} and all(len(c.text) <= 600 for c in made)
    assert sum(c.text.count("kayak") for c in made) == 59 and len([c for c in made if c.row]) < 12
    assert (
        "Section: A > B" in prompt_of(made[0], 4)[1].content and "list of 4 objects" in prompt_of(made[0], 4)[0].content
    )


def test_the_place_of_a_pair_is_that_of_its_sentence_or_row(tmp_path: Path) -> None:
    rows = TeacherChunk("p.csv", "P", 5, "item: a; price: 3\nThe price of thing 7 is 7 crowns.", row=5)
    text = TeacherChunk("d.md", "D", 2, "First this. The price of thing 8 is 8 crowns.", page=4)
    facts = taught_facts(teach(Teacher(), [rows, text], tmp_path / "j"))
    assert [(f.place.document, f.place.section, f.place.sentence, f.place.page, f.place.row) for f in facts] == [
        ("p.csv", 6, 1, None, 6),
        ("d.md", 2, 2, 4, None),
    ]


def test_a_bare_backend_teaches() -> None:
    class Backend:
        name = "echo:x"

        def generate(self, messages: Any, *, max_tokens: int = 32) -> Generation:
            return Generation(f"{messages[-1].content} {max_tokens}", usage=Usage(1, 2))

    made = BackendTeacher(Backend(), max_tokens=7).answer([Message("user", "hi")])
    assert (made.text, made.usage) == ("hi 7", Usage(1, 2))


class Endpoint:
    """An OpenAI-like server that writes one supported pair about each passage, slowly on request."""

    def __init__(self, delay: float = 0) -> None:
        self.asked = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked += 1
                time.sleep(delay)
                passage = body["messages"][-1]["content"].partition("Passage:\n")[2]
                found = re.search(r"Lamp (\d+) burns for (\d+) hours\.", passage)
                pairs = (
                    [
                        {
                            "question": f"How many hours does lamp {found[1]} burn?",
                            "answer": f"{found[2]} hours",
                            "quote": found[0],
                        }
                    ]
                    if found
                    else []
                )
                answer = {
                    "choices": [{"message": {"content": json.dumps(pairs)}}],
                    "usage": {"prompt_tokens": 200, "completion_tokens": 40},
                }
                data = json.dumps(answer).encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:  # the client was killed
                    pass

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"openai:gpt-4o-mini@http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


_COMMAND = """
import typer
from groundtune.cli import main
from groundtune.cli.dataset import build
group = typer.Typer()
group.command("build")(build.build)
group.callback()(lambda: None)
main.app.add_typer(group, name="dataset_under_test")
main.main()
"""


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _COMMAND, "dataset_under_test", "build", "--project", str(project), *arguments]
    env = {**os.environ, "OPENAI_API_KEY": "sk-never-shown", "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "documents").mkdir()
    for n in range(10):
        (tmp_path / "documents" / f"lamp{n}.txt").write_text(
            f"Lamp {n} burns for {n + 20} hours. It is red or blue.\n", encoding="utf-8"
        )
    return tmp_path


def test_a_killed_run_loses_no_more_than_the_requests_under_way(project: Path) -> None:
    endpoint = Endpoint(delay=0.25)
    journal = project / ".groundtune" / "teacher.jsonl"
    arguments = ("--teacher", endpoint.name, "--concurrency", "2", "--no-templates", "--yes", "--json")
    first = start(project, *arguments)
    for _ in range(300):
        if journal.exists() and len(read_journal(journal)) >= 3:
            break
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    finished, asked = len(read_journal(journal)), endpoint.asked
    assert 3 <= finished < 10 and asked <= finished + 2
    second = start(project, *arguments)
    out, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert endpoint.asked - asked == 10 - finished
    result = json.loads(out)
    assert result["questions"] == 10 and result["teacher"]["usage"]["prompt_tokens"] == 200 * (10 - finished)
    assert result["teacher"]["cost_usd"] == pytest.approx((200 * 0.15 + 40 * 0.60) / 1e6 * (10 - finished))
    assert {e.references[0] for e in read_examples(project / "questions.jsonl")} == {
        f"{n + 20} hours" for n in range(10)
    }
    assert "sk-never-shown" not in out + errors + journal.read_text(encoding="utf-8")
    third = start(project, *arguments)
    assert "is there already" in third.communicate(timeout=60)[1] and third.returncode == 2
    endpoint.server.shutdown()
    endpoint.server.server_close()


def test_nothing_is_spent_without_consent(project: Path) -> None:
    endpoint = Endpoint()
    refused = start(project, "--teacher", endpoint.name)
    out, errors = refused.communicate(timeout=60)
    assert refused.returncode == 2 and "--yes" in errors and "about $0.00" in out.replace("\n", " ")
    assert endpoint.asked == 0 and not (project / "questions.jsonl").exists()
    endpoint.server.shutdown()
    endpoint.server.server_close()


class Together(Teacher):
    """The first request ends in a lasting fault or Ctrl-C once another one is under way, which replies later."""

    def __init__(self, fault: BaseException) -> None:
        super().__init__()
        self.fault, self.second = fault, threading.Event()

    def answer(self, messages: Sequence[Message]) -> Completion:
        if "thing 0 " in messages[-1].content:
            assert self.second.wait(5)
            raise self.fault
        self.second.set()
        time.sleep(0.2)
        return super().answer(messages)


@pytest.mark.parametrize("fault", [GroundtuneError("no such key"), KeyboardInterrupt()])
def test_replies_under_way_are_kept_when_the_run_ends(fault: BaseException, tmp_path: Path) -> None:
    teacher = Together(fault)
    with pytest.raises(type(fault)):
        teach(teacher, chunks(6), tmp_path / "j", concurrency=2)
    assert 1 <= len(teacher.asked) < 5 and len(read_journal(tmp_path / "j")) == len(teacher.asked)


def test_the_limit_of_money_holds_for_the_longest_replies(tmp_path: Path) -> None:
    class Long(Teacher):
        max_tokens = 400

        def answer(self, messages: Sequence[Message]) -> Completion:
            time.sleep(0.01)
            completion = super().answer(messages)
            return Completion(completion.text, usage=Usage(sum(len(m.content) for m in messages), self.max_tokens))

    teacher = Long()
    one = Prices(0, 1000).of(Usage(0, 400))
    made = teach(teacher, chunks(20), tmp_path / "j", prices=Prices(0, 1000), max_usd=5.5 * one, concurrency=4)
    assert len(teacher.asked) == 5 and made.usd == pytest.approx(5 * one) and made.left == 15


def test_the_limit_of_money_holds_where_the_teacher_counts_nothing(tmp_path: Path) -> None:
    class Uncounted(Teacher):
        max_tokens = 50

        def answer(self, messages: Sequence[Message]) -> Completion:
            return Completion(super().answer(messages).text)

    teacher = Uncounted()
    made = teach(teacher, chunks(20), tmp_path / "j", prices=Prices(0, 1000), max_usd=0.2, concurrency=1)
    assert 0 < len(teacher.asked) < 20 and made.usage.completion_tokens > 0 and made.usd is not None and made.usd <= 0.2

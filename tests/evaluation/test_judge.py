"""A judge: how replies are read, pairs in both orders, agreement with people, and what it takes to be believed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from groundtune.backends.echo import EchoBackend
from groundtune.config import CompareConfig
from groundtune.errors import InputError
from groundtune.evaluation.agreement import agreement, believed, cohen_kappa, keep, read_labels, require, spearman
from groundtune.evaluation.compare import compare_systems
from groundtune.evaluation.judge import RUBRICS, SCALES, Judge, judge_values, parse_score, read_rubric
from groundtune.prompt_files import own_path
from groundtune.records import Completion, Example, Generation, Message
from groundtune.workspace import Workspace


@pytest.mark.parametrize(
    ("reply", "scale", "label"),
    [
        ('{"reason": "same", "score": "yes"}', "yes-no", "yes"),
        ('Sure!\n```json\n{"reason": "a 5 is too much", "score": 4}\n```', "1-5", "4"),
        ('{"score": 4.0}', "1-5", "4"),
        ('{"score": 4.5}', "1-5", None),
        ('{"score": 7}', "1-5", None),
        ('{"score": true}', "yes-no", "yes"),
        ('{"score": "tie"}', "pair", "tie"),
        ("Score: 3", "1-5", "3"),
        ("The answer is **No**.", "yes-no", "no"),
        ("My verdict: B", "pair", "B"),
        ("4/5", "1-5", "4"),
        ("Yes, because both say 27 days.", "yes-no", "yes"),
        ("Score: 3 ... no, score: 4", "1-5", None),  # two scores are none
        ("It is a good answer.", "1-5", None),
        ("A good answer.", "pair", None),
        ("Nowhere near.", "yes-no", None),
        ("", "yes-no", None),
    ],
)
def test_replies_are_read_and_never_guessed(reply: str, scale: str, label: str | None) -> None:
    assert parse_score(reply, scale) == label


@pytest.mark.parametrize("name", RUBRICS)
def test_our_rubrics_have_places_and_scales(name: str, tmp_path: Path) -> None:
    rubric = read_rubric(name, tmp_path)
    assert rubric.labels == SCALES[rubric.scale]
    row = {
        "question": "Q {answer}?",
        "reference": "R",
        "sources": "S",
        "answer": "X",
        "answer_a": "XA",
        "answer_b": "XB",
    }
    asked = rubric.prompt.messages(**row)
    assert [m.role for m in asked] == ["system", "user"]
    assert "Q {answer}?" in asked[1].content  # braces of a question are not filled in
    assert "{question}" not in asked[1].content


def test_a_rubric_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "polite.txt").write_text("# mine\nscale: 1-5\n[user]\n{question} {answer} polite?\n", encoding="utf-8")
    rubric = read_rubric("polite.txt", tmp_path)
    assert (rubric.name, rubric.scale) == ("polite", "1-5")
    (tmp_path / "polite.txt").write_text("scale: 1-5\n[user]\n{question} {answer} rude?\n", encoding="utf-8")
    assert read_rubric("polite.txt", tmp_path).signature != rubric.signature
    for text, said in (
        ("scale: 1-9\n[user]\nx", "scale '1-9'"),
        ("scale: 1-5\n[user]\n{question}", "{answer}"),
        ("scale: 1-5", "holds no turn"),
    ):
        (tmp_path / "bad.txt").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=said.replace("{", r"\{").replace("}", r"\}")):
            read_rubric("bad.txt", tmp_path)
    with pytest.raises(InputError, match="no rubric 'strict'"):
        read_rubric("strict", tmp_path)


def test_a_projects_own_wording_of_a_rubric_comes_first(tmp_path: Path) -> None:
    shipped = read_rubric("correct", tmp_path)
    own = own_path(tmp_path, "judge_correct")
    own.parent.mkdir()
    own.write_text(shipped.prompt.text("mine").replace("grade answers", "grade replies"), encoding="utf-8")
    mine = read_rubric("correct", tmp_path)
    assert mine.scale == shipped.scale and mine.signature != shipped.signature and mine.prompt.path == own
    own.write_text(own.read_text(encoding="utf-8").replace("scale: yes-no\n", ""), encoding="utf-8")
    with pytest.raises(InputError, match="no setting before the first turn"):
        read_rubric("correct", tmp_path)


class Answering:
    """A backend that answers what a function of the prompt says."""

    name = "answering"

    def __init__(self, say: Callable[[str], str]) -> None:
        self._say = say

    def generate_batch(self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32) -> list[Generation]:
        return [Generation(self._say(c[-1].content)) for c in conversations]


PAIR = {"question": "Q", "reference": "R", "answer_a": "long answer", "answer_b": "short"}


def test_a_winner_counts_only_where_both_orders_agree(tmp_path: Path) -> None:
    rubric = read_rubric("pair", tmp_path)
    fair = Answering(lambda text: '{"score": "A"}' if "Answer A: long" in text else '{"score": "B"}')
    assert Judge(fair, rubric).grade([PAIR]) == ["A"]
    assert Judge(Answering(lambda _: '{"score": "A"}'), rubric).grade([PAIR]) == ["tie"]  # likes what stands first
    silent = Answering(lambda text: "hm" if "Answer A: short" in text else '{"score": "A"}')
    assert Judge(silent, rubric).grade([PAIR]) == [None]
    with pytest.raises(InputError, match="pairs"):
        judge_values(Judge(fair, rubric), {}, [])


EXAMPLES = [Example(f"q{n}", f"q{n}", "held_out_facts", f"What is {n}?", (str(n),)) for n in range(6)]
COMPLETIONS = {e.id: Completion(e.references[0] if n % 2 else "wrong") for n, e in enumerate(EXAMPLES)}


def sees(text: str) -> str:
    """Right where answer and reference are the same; no score for question 5."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if fields["Question"] == "What is 5?":
        return "I would rather not say."
    return json.dumps({"score": "yes" if fields["Reference answer"] == fields["Answer to grade"] else "no"})


def test_scores_of_answers_and_counted_failures(tmp_path: Path) -> None:
    judge = Judge(Answering(sees), read_rubric("correct", tmp_path))
    values, failures = judge_values(judge, COMPLETIONS, EXAMPLES)
    assert values == {"q0": 0.0, "q1": 1.0, "q2": 0.0, "q3": 1.0, "q4": 0.0}
    assert failures == 1


def test_kappa_and_rho_are_scikit_learns_and_scipys() -> None:
    from scipy.stats import spearmanr
    from sklearn.metrics import cohen_kappa_score

    rng = random.Random(0)
    for _ in range(100):
        n, labels = rng.randint(4, 60), rng.choice((2, 3, 5))
        a = [rng.randrange(labels) for _ in range(n)]
        b = [x if rng.random() < 0.6 else rng.randrange(labels) for x in a]
        if len(set(a)) < 2 or len(set(b)) < 2:
            continue
        for weighted in (False, True):
            wanted = cohen_kappa_score(a, b, labels=list(range(labels)), weights="quadratic" if weighted else None)
            assert cohen_kappa(a, b, labels, weighted=weighted) == pytest.approx(wanted)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert cohen_kappa([1, 1], [1, 1], 2, weighted=False) == 0.0  # says the same of everything: no evidence
    assert spearman([1, 1, 1], [1, 2, 3]) == 0.0


def agreed(share: float, n: int = 100) -> dict[str, object]:
    rng = random.Random(1)
    human = [rng.choice(("no", "yes")) for _ in range(n)]
    judged = [h if rng.random() < share else ("no" if h == "yes" else "yes") for h in human]
    return agreement(human, judged, SCALES["yes-no"], resamples=300, seed=0)


def test_only_close_agreement_on_enough_labels_is_believed() -> None:
    found = agreed(0.95)
    kappa = found["kappa"]
    assert kappa["low"] < kappa["value"] < kappa["high"]  # type: ignore[index]
    assert believed(found, least_kappa=0.4, least_labels=30)[0]
    assert not believed(agreed(0.6), least_kappa=0.4, least_labels=30)[0]
    assert "30 are needed" in believed(agreed(1.0, n=20), least_kappa=0.4, least_labels=30)[1]
    silent = agreement(
        ["yes", "no"] * 50, [None, "no"] * 20 + ["yes", "no"] * 30, SCALES["yes-no"], resamples=100, seed=0
    )
    assert silent["failures"] == 20
    assert "20 of 100 replies" in believed(silent, least_kappa=-1, least_labels=2)[1]
    nothing = agreement(["yes"], [None], SCALES["yes-no"], resamples=100, seed=0)
    assert not believed(nothing, least_kappa=-1, least_labels=2)[0]


def test_an_unmeasured_or_poor_judge_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    limits = {"least_kappa": 0.4, "least_labels": 30}
    with pytest.raises(InputError, match="never held against human labels"):
        require(workspace, "m", "rubric", **limits)  # type: ignore[arg-type]
    keep(workspace, "m", "rubric", agreed(0.6))
    with pytest.raises(InputError, match="not to be believed: kappa"):
        require(workspace, "m", "rubric", **limits)  # type: ignore[arg-type]
    keep(workspace, "m", "rubric", agreed(0.95))
    assert require(workspace, "m", "rubric", **limits)["n"] == 100  # type: ignore[arg-type]
    with pytest.raises(InputError, match="never"):  # of another rubric nothing is known
        require(workspace, "m", "another", **limits)  # type: ignore[arg-type]


class Fixed:
    name, description = "fixed", "says what it says"

    def answer(self, messages: Sequence[Message]) -> Completion:
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        known = {e.question: COMPLETIONS[e.id] for e in EXAMPLES}
        return [known[c[-1].content.strip()] for c in conversations]


def test_a_believed_judges_scores_stand_beside_the_others(tmp_path: Path) -> None:
    judge = Judge(Answering(sees), read_rubric("correct", tmp_path))
    config = CompareConfig(resamples=100, latency_questions=1)
    result, _ = compare_systems({"fixed": Fixed()}, EXAMPLES, config, seed=0, training={}, judge=judge)
    row = result["systems"][0]
    assert row["scores"]["all_answerable"]["judge"]["mean"] == pytest.approx(2 / 5)
    assert row["judge"] == {"name": "answering, correct", "failures": 1}


def test_labels_are_read_from_csv_and_jsonl(tmp_path: Path) -> None:
    table, lines = tmp_path / "l.csv", tmp_path / "l.jsonl"
    table.write_text('question,answer,label\n"one\nline",x,YES\nb,y,no\n', encoding="utf-8")
    assert [r["label"] for r in read_labels(table, SCALES["yes-no"])] == ["yes", "no"]
    lines.write_text('{"question": "q", "answer": "a", "label": 4}\n', encoding="utf-8")
    assert read_labels(lines, SCALES["1-5"])[0]["label"] == "4"
    with pytest.raises(InputError, match=r"l\.jsonl:1: no 'answer_a'"):
        read_labels(lines, SCALES["pair"])
    with pytest.raises(InputError, match=r"l\.jsonl:1: label 4"):
        read_labels(lines, SCALES["yes-no"])
    lines.write_text("[]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"l\.jsonl:1: not a JSON object"):
        read_labels(lines, SCALES["yes-no"])


def test_an_echo_can_be_a_judge_and_agrees_by_chance_only(tmp_path: Path) -> None:
    judge = Judge(EchoBackend('{"score": "yes"}'), read_rubric("correct", tmp_path))
    human = ["yes", "no"] * 30
    given = judge.grade([{"question": "q", "answer": "a"}] * 60)
    found = agreement(human, given, SCALES["yes-no"], resamples=200, seed=0)
    assert (found["accuracy"], found["kappa"]["value"], found["spearman"]["value"]) == (0.5, 0.0, 0.0)

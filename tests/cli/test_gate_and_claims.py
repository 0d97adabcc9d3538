"""``groundtune gate`` and ``groundtune claims`` as a user types them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sample_project import Typed

CLAIMS = (
    ("t1", "train", "True", "The duty officer answers on extension 4471."),
    ("t2", "train", "NEE", "The ceiling of the concert hall was painted by a sailor."),
    ("c1", "test", "True", "A yearly card costs 48 crowns."),
    ("c2", "test", "False", "A yearly card costs 84 crowns."),
    ("c3", "test", "NEE", "Elephants swim in the harbour at night."),
)


def test_the_gate_stores_passes_stops_and_refuses(made: Path, typed: Typed) -> None:
    project = ("--project", made)
    code, _, message = typed("gate", *project)
    assert code == 2
    assert "no baseline" in message
    assert "groundtune gate --set-baseline" in message
    code, said, _ = typed("gate", "--set-baseline", "--systems", "baseline", "--json", *project)
    assert code == 0
    assert (json.loads(said)["questions"], json.loads(said)["systems"]) == (8, ["baseline"])
    code, said, _ = typed("gate", *project)
    assert code == 0
    assert said.splitlines()[-1] == "groundtune gate: passed, no significant drop"

    file = made / "groundtune-baseline.json"
    better = json.loads(file.read_text(encoding="utf-8"))
    values = better["systems"]["baseline"]
    values["token_f1"] = dict.fromkeys(values["token_f1"], 99.0)
    file.write_text(json.dumps(better), encoding="utf-8")
    settings = made / "groundtune.yaml"  # eight questions are too few for a small p-value
    settings.write_text(settings.read_text(encoding="utf-8") + "gate: {alpha: 0.9}\n", encoding="utf-8")
    code, said, _ = typed("gate", *project)
    assert code == 1
    assert said.splitlines()[-1].startswith("groundtune gate: FAILED, significant drop: baseline token_f1 -9")

    questions = made / "questions.jsonl"
    questions.write_text(questions.read_text(encoding="utf-8").replace("6 working days", "7 days"), encoding="utf-8")
    code, _, message = typed("gate", *project)
    assert code == 2
    assert "not those of the baseline" in message


def test_four_matrices_from_one_command(made: Path, typed: Typed) -> None:
    rows = [{"id": i, "split": s, "label": label, "claim": text} for i, s, label, text in CLAIMS]
    (made / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = made / "claims.html"
    _, printed, _ = typed("claims", "--project", made, "--report", page, "--json")
    said = json.loads(printed)
    assert said["labels"] == {"True": 1, "False": 1, "NEE": 1}
    assert said["chosen_on"] == 2
    assert page.read_text(encoding="utf-8").count("<figure") == 8
    assert [row["name"] for row in said["verdicts"]] == ["./tiny", "rule"]
    by_rule = {way["way"]: way for way in said["verdicts"][1]["ways"]}
    assert list(by_rule) == ["closed_book", "context", "threshold", "hyde"]
    assert by_rule["context"]["verdicts"] == {"c1": "True", "c2": "False", "c3": "NEE"}
    assert by_rule["closed_book"]["accuracy"] == 1 / 3
    code, _, message = typed("claims", "--project", made, "--system", "nobody")
    assert code == 2
    assert "unknown system 'nobody'" in message


def test_a_judge_is_measured_before_its_scores_stand_in_evaluate(made: Path, typed: Typed) -> None:
    settings = made / "groundtune.yaml"
    text = settings.read_text(encoding="utf-8")
    project = ("--project", made)
    code, _, message = typed("evaluate", "--system", "baseline", "--judge", *project)
    assert code == 2
    assert "no judge is named" in message
    settings.write_text(text + 'judge: {model: \'echo:{"score": "yes"}\'}\n', encoding="utf-8")
    code, _, message = typed("evaluate", "--system", "baseline", "--judge", *project)
    assert code == 2
    assert "never held against human labels" in message

    labels = made / "labels.jsonl"
    rows = [{"question": "q", "answer": "a", "label": label} for label in ("yes", "no") * 20]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, said, _ = typed("judge", "--labels", labels, *project)
    assert code == 0
    assert "NOT believed: kappa 0.00" in said
    code, _, message = typed("evaluate", "--system", "baseline", "--judge", *project)
    assert code == 2
    assert "is not to be believed: kappa 0.00" in message

    settings.write_text(text + 'judge: {model: \'echo:{"score": "yes"}\', least_kappa: -1}\n', encoding="utf-8")
    passage = made / "documents" / "hours.txt"
    code, said, _ = typed("evaluate", "--system", "baseline", "--judge", "--text", passage, "--json", *project)
    assert code == 0
    row = json.loads(said)
    assert row["scores"]["all_answerable"]["judge"]["mean"] == 1.0
    assert row["judge"]["failures"] == 0
    assert row["likelihood"]["perplexity"] == pytest.approx(math.exp(row["likelihood"]["cross_entropy"]))
    assert row["abstention"]["confidence"] == "source"

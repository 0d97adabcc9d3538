"""Graders: rewards and failures through the official client, the sandbox of python graders, formulas that are no programs."""

from __future__ import annotations

import os
import random
import socket
import string
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from groundtune.serving.errors import ApiError
from groundtune.serving.grading import grader_sandbox
from groundtune.serving.grading.grader_formula import FormulaError, calculated, names_of
from groundtune.serving.grading.grader_requests import Multi, RunGrader, check_grader
from groundtune.serving.grading.grader_sandbox import GraderFault, run_python
from groundtune.serving.grading.grader_text import fuzzy_match, gleu, similarity
from groundtune.serving.grading.graders import Judgement, run_grader

ITEM = {"answer": "Paris", "all": ["Paris", {"name": "Lyon"}], "n": 3}
isolated = pytest.mark.skipif(not grader_sandbox.available(), reason="this system has no Landlock and seccomp")


def graded(
    grader: dict[str, Any], sample: str = "Paris", item: Mapping[str, Any] | None = ITEM, **more: Any
) -> dict[str, Any]:
    wanted = RunGrader.model_validate({"grader": {"name": "g", **grader}, "model_sample": sample, "item": item})
    check_grader(wanted.grader)
    return run_grader(wanted.grader, wanted.item, wanted.model_sample, **{"embed": no_vectors, **more})


def no_vectors(texts: Sequence[str]) -> Any:
    raise AssertionError("nobody asked for vectors")


def failed(answer: dict[str, Any]) -> set[str]:
    return {name for name, value in answer["metadata"]["errors"].items() if value}


def check(
    operation: str, sample: str, input: str = "{{sample.output_text}}", reference: str = "{{item.answer}}"
) -> float:
    grader = {"type": "string_check", "input": input, "reference": reference, "operation": operation}
    return float(graded(grader, sample)["reward"])


@pytest.mark.parametrize(
    ("operation", "sample", "reward"),
    [
        ("eq", "Paris", 1), ("eq", "paris", 0), ("ne", "Rome", 1), ("ne", "Paris", 0), ("like", "It is Paris.", 1),
        ("like", "It is PARIS.", 0), ("ilike", "It is PARIS.", 1), ("ilike", "Rome", 0),
    ],
)  # fmt: skip
def test_string_check(operation: str, sample: str, reward: float) -> None:
    assert check(operation, sample) == reward


def test_templates_go_into_objects_and_lists() -> None:
    assert check("eq", "Lyon", reference="{{ item.all[1].name }}") == 1
    assert check("eq", '{"a": {"b": [1, 2]}}', input="{{sample.output_json.a.b}}", reference="[1, 2]") == 1
    assert check("eq", "{{item.answer}}") == 0  # what a sample says is no template
    assert check("eq", "x3", input="{{sample.output_text}}", reference="x{{item.n}}") == 1


def test_what_templates_cannot_find_is_told() -> None:
    grader = {"type": "string_check", "input": "{{item.none}}", "reference": "x", "operation": "eq"}
    answer = graded(grader)
    assert answer["reward"] == 0 and failed(answer) == {"invalid_variable_error"}
    assert failed(graded({**grader, "input": "{{item.__class__}}"})) == {"invalid_variable_error"}
    answer = graded({**grader, "input": "{{sample.output_json.a}}"}, "no JSON")
    assert failed(answer) == {"sample_parse_error"}
    for wrong in ("{{item.a b}}", "{{config}}", "{{item.a + 1}}", "{{sample}.x}}"):
        with pytest.raises(ApiError) as caught:
            graded({**grader, "input": wrong})
        assert caught.value.code == "invalid_template" and caught.value.param == "grader.input"


# ---------------------------------------------------------------- similarity


def test_gleu_is_nltks() -> None:
    nltk = pytest.importorskip("nltk.translate.gleu_score")
    rng = random.Random(0)
    for _ in range(50):
        one, other = ([rng.choice("abcde") for _ in range(rng.randint(1, 12))] for _ in range(2))
        assert gleu(" ".join(one), " ".join(other)) == pytest.approx(nltk.sentence_gleu([other], one))
    assert gleu("", "") == 0.0


def test_fuzzy_match_is_the_longest_common_subsequence() -> None:
    def slow(a: str, b: str) -> int:
        rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                rows[i + 1][j + 1] = rows[i][j] + 1 if x == y else max(rows[i][j + 1], rows[i + 1][j])
        return rows[-1][-1]

    rng = random.Random(1)
    for _ in range(100):
        a, b = ("".join(rng.choice("abcd") for _ in range(rng.randint(0, 90))) for _ in range(2))
        if a or b:
            assert fuzzy_match(a, b) == 2 * slow(a, b) / (len(a) + len(b))
    assert fuzzy_match("", "") == 1.0 and fuzzy_match("this is a test", "this is a test!") == pytest.approx(28 / 29)


@pytest.mark.parametrize(
    "metric", ["fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"]
)
def test_similarities_are_1_for_the_same_and_less_for_others(metric: str) -> None:
    text, other = "the tower is nine metres tall in all", "the tower stands nine metres high in all"
    grader = {
        "type": "text_similarity",
        "input": "{{sample.output_text}}",
        "reference": text,
        "evaluation_metric": metric,
    }
    assert graded(grader, text)["reward"] == pytest.approx(1.0)
    assert 0 <= graded(grader, other)["reward"] < 1.0
    assert graded(grader, "")["reward"] == 0.0


def test_texts_that_would_take_for_ever_are_refused() -> None:
    with pytest.raises(ApiError, match="too long"):
        similarity("rouge_l", "a " * 50_000, "b " * 50_000, no_vectors)


def test_rouge_2_by_hand() -> None:
    assert similarity("rouge_2", "a b c d", "a b x c d", no_vectors) == pytest.approx(
        2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)
    )


# ---------------------------------------------------------------- through the official client


def test_run_and_validate(client: Any) -> None:
    graders = client.fine_tuning.alpha.graders
    grader = {
        "type": "text_similarity",
        "name": "like",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "evaluation_metric": "cosine",
    }
    near = graders.run(grader=grader, model_sample="Paris, France", item={"answer": "Paris"})
    far = graders.run(grader=grader, model_sample="a bag of nails", item={"answer": "Paris"})
    assert far.reward < 0.4 < 0.6 < near.reward
    assert near.metadata.name == "like" and near.metadata.type == "text_similarity" and near.metadata.execution_time > 0
    assert near.metadata.scores == {"like": near.reward} and not near.metadata.errors.other_error
    assert graders.validate(grader=grader).grader.to_dict() == grader
    for wrong, code in (
        ({**grader, "evaluation_metric": "meteor"}, "unsupported_metric"),
        ({**grader, "evaluation_metric": "nonsense"}, "invalid_value"),
        ({"type": "python", "name": "p", "source": "def grade(x): return 1"}, "invalid_source"),
        ({"type": "python", "name": "p", "source": "def grade("}, "invalid_source"),
        ({"type": "string_check", "name": "x"}, "missing_required_parameter"),
        ({"type": "multi", "name": "m", "graders": {"a": grader}, "calculate_output": "a + b"}, "invalid_formula"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            graders.validate(grader=wrong)
        assert caught.value.code == code, caught.value
    model = {
        "type": "score_model",
        "name": "s",
        "model": "m",
        "input": [{"role": "user", "content": "Score {{sample.output_text}}"}],
    }
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        graders.run(grader=model, model_sample="x")


# ---------------------------------------------------------------- multi


def test_multi_of_named_graders() -> None:
    eq = {
        "type": "string_check",
        "name": "eq",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    like = {**eq, "operation": "like", "reference": "ar"}
    multi = {"type": "multi", "graders": {"eq": eq, "like": like}, "calculate_output": "0.25 * eq + 0.75 * like ^ 2"}
    answer = graded(multi, "Arras bar")
    assert (
        answer["reward"] == 0.75 and answer["sub_rewards"] == {"eq": 0.0, "like": 1.0} == answer["metadata"]["scores"]
    )
    single = {"type": "multi", "graders": eq, "calculate_output": "max(eq, 0.5)"}
    assert graded(single, "Rome")["reward"] == 0.5
    broken = graded({**multi, "calculate_output": "eq / (like - 1)"}, "Arras bar")
    assert broken["reward"] == 0 and failed(broken) == {"formula_parse_error"}


@pytest.mark.parametrize(
    ("formula", "value"),
    [("1 + 2 * 3", 7), ("2 ^ 3 ^ 2", 512), ("-(a - 4) / 2", 1), ("min(a, b, 1)", 1), ("floor(2.9) + ceil(0.1) + abs(-1)", 4), ("log(exp(a)) + sqrt(9)", 5)],
)  # fmt: skip
def test_formulas(formula: str, value: float) -> None:
    assert calculated(formula, {"a": 2, "b": 3}) == pytest.approx(value)


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('x')", "a.b", "a[0]", "lambda: 1", "[a for a in b]", "'x' * 9", "a if b else c", "f(a)", "min(a, key=b)",
        "9 ^ 9 ^ 9 ^ 9", "1 / 0", "log(-1)", "a +", "", "(" * 5000, "1 < 2", "True", "1e999", "a := 1", "max", "1" * 3000, "min(*a)",
    ],
)  # fmt: skip
def test_what_is_no_formula(formula: str) -> None:
    began = time.monotonic()
    with pytest.raises(FormulaError):
        calculated(formula, {"a": 1.0, "b": 2.0})
    assert time.monotonic() - began < 2
    assert names_of("a + max(b, min)", "grader") == {"a", "b", "min"}


def test_formulas_of_random_letters_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    for _ in range(3000):
        text = "".join(rng.choice(string.printable) for _ in range(rng.randint(0, 20)))
        try:
            assert isinstance(calculated(text, {"a": 1.0}), float)
        except FormulaError:
            continue


# ---------------------------------------------------------------- python


def python(body: str, sample: str = '{"x": 4}', *, seconds: float = 5) -> float:
    from groundtune.serving.grading.grader_templates import sample_of

    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return run_python(
        f"import math\ndef grade(sample, item):\n{lines}\n", sample_of(sample), ITEM, wall_seconds=seconds
    )


@isolated
def test_a_python_grader_calculates() -> None:
    assert python("return sample['output_json']['x'] / 8 + item['n']") == 3.5
    assert (
        python(
            "import re, json, difflib, statistics\nprint('talk')\nreturn len(re.findall('x', sample['output_text']))"
        )
        == 1
    )
    assert python("return math.sqrt(len(sample['choices'][0]['message']['content']))", "abcd") == 2


@isolated
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return 'x'", "expected a finite number"), ("return float('nan')", "expected a finite number"), ("return True", "expected a finite number"),
        ("return None", "expected a finite number"), ("raise ValueError('no such word')", "ValueError: no such word (line 3)"),
        ("return undefined", "NameError"), ("import torch", "ModuleNotFoundError"), ("import os\nos._exit(3)", "ended with code 3"),
        ("while True: pass", "took longer than 1 seconds"), ("import time\ntime.sleep(60)", "took longer than 1 seconds"),
        ("x = bytearray(1 << 31)\nreturn 1", "MemoryError"), ("def f(n): return f(n + 1)\nreturn f(0)", "RecursionError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)  # fmt: skip
def test_a_python_grader_that_fails(body: str, why: str) -> None:
    with pytest.raises(GraderFault) as caught:
        python(body, seconds=1 if "longer" in why else 20)
    assert why in str(caught.value)
    answer = graded({"type": "python", "source": f"def grade(sample, item):\n raise KeyError('{why[:3]}')"})
    assert answer["reward"] == 0 and failed(answer) == {
        "python_grader_runtime_error",
        "python_grader_runtime_error_details",
    }


@isolated
def test_a_python_grader_gets_nowhere(tmp_path: Path) -> None:
    """Every way out that this test knows, each from inside the process, against things that are really there."""
    secret, target = tmp_path / "secret.txt", tmp_path / "kept.txt"
    secret.write_text("secret", encoding="utf-8")
    target.write_text("kept", encoding="utf-8")
    target.chmod(0o644)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    port, pid = listening.getsockname()[1], os.getpid()
    ways = {
        "read": f"return len(open({str(secret)!r}).read())",
        "read by a descriptor": f"import os\nreturn len(os.read(os.open({str(secret)!r}, os.O_RDONLY), 9))",
        "environment": "return 1 if open('/proc/self/environ').read() is not None else 0",
        "list": f"import os\nreturn len(os.listdir({str(tmp_path)!r}))",
        "write": f"open({str(target)!r}, 'w').write('gone')\nreturn 1",
        "write here": "open('x', 'w').write('x')\nreturn 1",
        "truncate": f"import os\nos.truncate({str(target)!r}, 0)\nreturn 1",
        "delete": f"import os\nos.unlink({str(target)!r})\nreturn 1",
        "mode": f"import os\nos.chmod({str(target)!r}, 0)\nreturn 1",
        "times": f"import os\nos.utime({str(target)!r}, (1, 1))\nreturn 1",
        "rename": f"import os\nos.rename({str(target)!r}, {str(tmp_path / 'other')!r})\nreturn 1",
        "link": f"import os\nos.link({str(secret)!r}, {str(tmp_path / 'link')!r})\nreturn 1",
        "connect": f"import socket\nsocket.create_connection(('127.0.0.1', {port}))\nreturn 1",
        "datagram": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))\nreturn 1",
        "fork": "import os\nreturn 1 + os.fork()",
        "program": "import subprocess\nsubprocess.run(['true'])\nreturn 1",
        "exec": "import os\nos.execv('/bin/true', ['true'])",
        "spawn": "import os\nreturn 1 if os.posix_spawn('/bin/true', ['true'], {}) else 0",
        "shell": f"import os\nif os.system('echo x > {tmp_path}/owned') != 0: raise OSError\nreturn 1",
        "kill": f"import os\nos.kill({pid}, 0)\nreturn 1",
        "limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))\nreturn 1",
        "unshare": "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) != 0: raise OSError\nreturn 1",
        "trace": f"import ctypes\nif ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) != 0: raise OSError\nreturn 1",
    }
    for name, body in ways.items():
        with pytest.raises(GraderFault):
            print(name, python(body))
    assert target.read_text(encoding="utf-8") == "kept" and target.stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.txt", "secret.txt"]
    listening.settimeout(0.1)
    with pytest.raises(TimeoutError):
        listening.accept()
    listening.close()


@isolated
def test_a_python_grader_cannot_fill_anything() -> None:
    with pytest.raises(GraderFault):
        python(
            "import os\nfor _ in range(10**6):\n    for fd in range(1, 20):\n        try: os.write(fd, b'x' * 4096)\n        except OSError: pass\nos._exit(0)"
        )


def test_without_isolation_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(grader_sandbox, "available", lambda: False)
    with pytest.raises(ApiError) as caught:
        run_python("def grade(s, i): return 1", {}, {})
    assert caught.value.status == 400 and caught.value.code == "unsupported_grader"


# ---------------------------------------------------------------- models that judge

SCORE = {"type": "score_model", "model": "m", "input": [{"role": "user", "content": "Score {{sample.output_text}} against {{item.answer}}."}], "range": [0, 10], "sampling_params": {"seed": 4}}  # fmt: skip
LABEL = {"type": "label_model", "model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Judge {{sample.output_text}}"}]}], "labels": ["good", "bad"], "passing_labels": ["good"]}  # fmt: skip


@pytest.mark.parametrize(
    ("grader", "said", "reward", "errors"),
    [
        (SCORE, "7.5", 7.5, set()), (SCORE, "Score: 8", 8, set()), (SCORE, "11", 0, {"model_grader_parse_error"}),
        (SCORE, "none", 0, {"model_grader_parse_error"}), (SCORE, None, 0, {"model_grader_refusal_error"}),
        (LABEL, "Good", 1, set()), (LABEL, "bad", 0, set()), (LABEL, "so so", 0, {"model_grader_parse_error"}),
    ],
)  # fmt: skip
def test_a_model_judges(grader: dict[str, Any], said: str | None, reward: float, errors: set[str]) -> None:
    asked: list[Any] = []

    def judge(*given: Any) -> Judgement:
        asked.append(given)
        return Judgement(said, 12)

    answer = graded(grader, "Rome", judge=judge)
    assert answer["reward"] == reward and failed(answer) == errors
    model, messages, parameters = asked[0]
    assert model == "m" and "Rome" in messages[0]["content"] and "{{" not in messages[0]["content"]
    assert parameters == grader.get("sampling_params", {})
    assert answer["model_grader_token_usage_per_model"] == {"m": 12} and answer["metadata"]["token_usage"] == 12
    assert answer["metadata"]["sampled_model_name"] == "m"


def test_a_judge_that_breaks_down() -> None:
    def judge(*given: Any) -> Judgement:
        raise ApiError(503, "no room", type="server_error")

    answer = graded(SCORE, judge=judge)
    assert failed(answer) == {"model_grader_server_error", "model_grader_server_error_details"}
    both = {"type": "multi", "graders": {"score": SCORE, "label": LABEL}, "calculate_output": "score / 10 + label"}
    answer = graded(both, judge=lambda *given: Judgement("good" if "label" in given[1][-1]["content"] else "5", 3))
    assert answer["reward"] == 1.5 and answer["model_grader_token_usage_per_model"] == {"m": 6}
    assert isinstance(RunGrader.model_validate({"grader": both, "model_sample": ""}).grader, Multi)


def test_a_judging_model_is_asked_as_the_caller(client: Any) -> None:
    """The bundled model is no judge: what counts is that it was asked, and that its tokens are told."""
    import openai

    score = {"type": "score_model", "name": "s", "model": "gpt-4o-mini", "range": [0, 1],
             "sampling_params": {"temperature": 0, "max_tokens": 5},
             "input": [{"role": "user", "content": "Rate: {{sample.output_text}}"}]}  # fmt: skip
    answer = client.post(
        "/fine_tuning/alpha/graders/run", body={"grader": score, "model_sample": "Rome"}, cast_to=object
    )
    assert answer["metadata"]["token_usage"] > 5 and answer["metadata"]["sampled_model_name"] == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        client.post("/fine_tuning/alpha/graders/run", body={"grader": {**score, "model": "nobody"}, "model_sample": "Rome"}, cast_to=object)  # fmt: skip

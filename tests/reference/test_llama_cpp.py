"""GGUF files in llama.cpp itself, through the package xllamacpp, which carries it: tokens, chat format, probabilities.

Not part of the project's dependencies: `pip install xllamacpp` (33 MB) in the environment of the tests runs these.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.nn.gguf.tokenizer import PRE_TOKENIZERS, PROBE, as_llama_cpp
from groundtune.nn.gguf.writer import write_gguf
from llama_models import MAKES, small_llama

xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not here: pip install xllamacpp")

IDS = [5, 60, 70, 200, 33, 120, 399, 8, 77, 150, 310, 41, 9, 250, 88, 66, 140, 7, 301, 222]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When's the fair?"}]


class LlamaCpp:
    """A llama.cpp server in this process."""

    def __init__(self, path: Path) -> None:
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx, settings.n_parallel, settings.warmup, settings.fit_params = 128, 1, False, False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        settings.use_jinja, settings.verbosity = True, -1
        self.server = xllamacpp.Server(settings)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.server.listening_address + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def tokens(self, text: str) -> list[int]:
        found: list[int] = self.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})[
            "tokens"
        ]
        return found

    def next_token(self, ids: list[int], entries: int) -> dict[int, float]:
        """Natural logarithm of each entry's probability to come next; nothing where the likeliest is no whole character."""
        asked = {"prompt": ids, "n_predict": 1, "n_probs": entries, "temperature": 0, "cache_prompt": False}
        said = self.server.handle_completions(asked)["choices"][0]["logprobs"]
        return {t["id"]: t["logprob"] for t in said["content"][0]["top_logprobs"]} if said else {}


def difference(model: Any, path: Path) -> float:
    """Largest difference of a log-probability between llama.cpp's and the model's, over the likelier half."""
    server = LlamaCpp(path)
    ends = range(len(IDS), len(IDS) // 2, -1)
    found, end = next((f, end) for end in ends if (f := server.next_token(IDS[:end], model.config.vocab_size)))
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([IDS[:end]])).logits[0, -1].float(), -1)
    likely = wanted.topk(len(wanted) // 2).indices.tolist()
    return max(abs(found[i] - float(wanted[i])) for i in likely)


@pytest.mark.parametrize("make", MAKES)
def test_every_make_of_llama_predicts_the_same(make: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama(make, tiny_tokenizer)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "f32")
    assert difference(model, tmp_path / "m.gguf") < 0.02  # llama.cpp keeps keys and values in float16


@pytest.mark.parametrize(("kind", "limit"), [("f16", 0.02), ("q8_0", 0.3), ("q4_0", 3.0)])
def test_every_type_of_tensor_is_read(kind: str, limit: float, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama("untied", tiny_tokenizer)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", kind)
    assert difference(model, tmp_path / "m.gguf") < limit


def test_the_probe_would_see_queries_that_are_not_permuted(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_llama("untied", tiny_tokenizer)
    monkeypatch.setattr("groundtune.nn.gguf.writer.permuted", lambda weight, heads: weight)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "f32")
    assert difference(model, tmp_path / "m.gguf") > 0.1


def test_pebble_predicts_the_same(tmp_path: Path) -> None:
    from groundtune.nn.checkpoints import BUNDLED_FOLDER, open_model

    model, tokenizer = open_model(str(BUNDLED_FOLDER), torch.float32)
    write_gguf(model.eval(), tokenizer, tmp_path / "pebble.gguf", "f32")
    assert difference(model, tmp_path / "pebble.gguf") < 0.05


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_pre_tokenizer_cuts_as_we_say_it_does(
    name: str, tiny_tokenizer: Any, make_tiny_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundtune.nn.gguf.tokenizer.closest_pre_tokenizer", lambda *_: (name, 0.0))
    write_gguf(make_tiny_model(), tiny_tokenizer, tmp_path / "m.gguf", "f16")
    server, expected = LlamaCpp(tmp_path / "m.gguf"), as_llama_cpp(tiny_tokenizer.backend_tokenizer, name)
    for text in (PROBE, "<|user|>It's 1,234 o'clock <|end|> x\t\ty  z", "a\r\n\r\nb 'tis 'S don’t"):
        assert server.tokens(text) == expected.encode(text).ids


def test_tokens_and_chat_format_of_a_conversation_are_ours(
    tiny_tokenizer: Any, make_tiny_model: Callable[..., Any], tmp_path: Path
) -> None:
    write_gguf(make_tiny_model(), tiny_tokenizer, tmp_path / "m.gguf", "f16")
    server = LlamaCpp(tmp_path / "m.gguf")
    ours = tiny_tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert server.post("/apply-template", {"messages": MESSAGES})["prompt"] == ours
    assert server.tokens(ours) == tiny_tokenizer(ours)["input_ids"]

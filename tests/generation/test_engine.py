"""The engine: what is written together is what is written alone, slots are reused and outgrown, faults stay with their request."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.generation.constraint import json_grammar
from groundtune.generation.engine import Engine
from groundtune.generation.runner import SlotRunner
from groundtune.generation.sampling import Sampler
from groundtune.nn.computing import submit

sys.path.insert(0, str(Path(__file__).parent))
from tiny import begin, greedy, llama, tokenizer


@pytest.fixture(scope="module")
def model() -> Any:
    return llama()


@pytest.fixture
def engine(model: Any) -> Iterator[Engine]:
    made = Engine(model, tokenizer(), sequences=16)
    yield made
    made.close()


def prompts(count: int, seed: int = 0) -> list[list[int]]:
    """Prompts of many lengths; half of them begin like another one."""
    draw = random.Random(seed)
    found: list[list[int]] = []
    for n in range(count):
        own = [draw.randrange(len(tokenizer())) for _ in range(draw.randrange(1, 60))]
        found.append([*draw.choice(found)[: draw.randrange(1, 60)], *own][:90] if found and n % 2 else own)
    return found


def settled(engine: Engine) -> None:
    """Wait until nothing is under way."""
    for _ in range(600):
        if engine.load == (0, 0):
            return
        time.sleep(0.01)
    raise AssertionError(engine.load)


def test_written_together_as_alone(engine: Engine, model: Any) -> None:
    """200 prompts, all at once: the tokens of the model's own forward pass, and their log-probabilities."""
    assert isinstance(engine.runner, SlotRunner)
    asked = prompts(200)
    answers = [begin(engine, prompt, 6) for prompt in asked]
    for prompt, answer in zip(asked, answers, strict=True):
        answer.wait()
        assert answer.writing and answer.error is None
        assert answer.writing.written == greedy(model, prompt, 6), prompt
    for prompt, answer in list(zip(asked, answers, strict=True))[::20]:
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *answer.writing.written]]), use_cache=False).logits[0]
        own = torch.log_softmax(logits[len(prompt) - 1 : -1], -1).gather(
            1, torch.tensor(answer.writing.written)[:, None]
        )
        assert answer.writing.logprob == pytest.approx(float(own.sum()), abs=1e-3)
    settled(engine)


def test_a_beginning_is_read_once(engine: Engine, model: Any) -> None:
    first = prompts(1, seed=3)[0] * 8
    first = first[:64]
    begin(engine, first).wait()
    again = begin(engine, [*first, 5, 6]).wait()
    assert again.writing and again.writing.cached_tokens == 64
    assert again.writing.written == greedy(model, [*first, 5, 6], 8)
    parted = begin(engine, [*first[:30], 9, 9, 9]).wait()
    assert parted.writing and parted.writing.cached_tokens == 30
    assert parted.writing.written == greedy(model, [*first[:30], 9, 9, 9], 8)
    apart = begin(engine, [*first, 5, 6], salt="another").wait()
    assert apart.writing and apart.writing.cached_tokens == 0 and apart.writing.written == again.writing.written
    whole = begin(engine, first).wait()  # the last token is always read: its logits are wanted
    assert whole.writing and whole.writing.cached_tokens == 63 and whole.writing.written == greedy(model, first, 8)


def test_the_longest_unused_goes_first(model: Any) -> None:
    engine = Engine(model, tokenizer(), sequences=2)
    try:
        kinds = [[n] * 40 for n in range(10, 20)]
        for prompt in kinds:
            assert begin(engine, prompt).wait().error is None
        held = {slot.tokens[0] for slot in engine._places.slots if slot.tokens}
        assert len(engine._places.slots) == 2 and held == {18, 19}
        kept = begin(engine, kinds[-1]).wait()
        assert kept.writing and kept.writing.cached_tokens == 39 and kept.writing.written == greedy(model, kinds[-1], 8)
    finally:
        engine.close()


def test_room_grows_under_way(engine: Engine, model: Any) -> None:
    short = begin(engine, [7] * 10, 100)
    long = begin(engine, [8] * 120, 100)
    many = [begin(engine, [n, n + 1, n + 2], 20) for n in range(40)]
    assert short.wait().writing.written == greedy(model, [7] * 10, 100)  # type: ignore[union-attr]
    assert long.wait().writing.written == greedy(model, [8] * 120, 100)  # type: ignore[union-attr]
    for n, answer in enumerate(many):
        assert answer.wait().writing.written == greedy(model, [n, n + 1, n + 2], 20)  # type: ignore[union-attr]
    assert len(engine._places.slots) == 16


def test_memory_is_kept_to(model: Any) -> None:
    each = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, width, bytes
    engine = Engine(model, tokenizer(), sequences=16, cache_bytes=3 * 128 * each)
    try:
        begin(engine, [1, 2, 3]).wait()
        assert engine.runner.bytes_per_token == each
        answers = [begin(engine, [n] * 60, 60) for n in range(12)]
        most = 0
        while engine.load != (0, 0):
            most = max(most, engine.load[0])
            time.sleep(0.001)
        assert most <= 3
        assert all(a.wait().writing.written == greedy(model, [n] * 60, 60) for n, a in enumerate(answers))  # type: ignore[union-attr]
    finally:
        engine.close()


def test_prompts_are_told(engine: Engine, model: Any) -> None:
    prompt = prompts(1, seed=5)[0][:20] or [1, 2]
    answer = begin(engine, prompt, 1, prompt_logprobs=True, alternatives=3)
    piece = answer.pieces.get(timeout=30)
    with torch.inference_mode():
        own = torch.log_softmax(model(torch.tensor([prompt])).logits[0], -1)
    assert [token.id for token in piece.prompt] == prompt and piece.prompt[0].logprob == 0.0
    for place, token in enumerate(piece.prompt[1:]):
        assert token.logprob == pytest.approx(float(own[place, prompt[place + 1]]), abs=1e-4)
        assert [value for _, value in token.alternatives] == pytest.approx(own[place].topk(3).values.tolist(), abs=1e-4)


# ---------------------------------------------------------------- what goes wrong


def test_giving_up(engine: Engine) -> None:
    answers = [begin(engine, [n] * 10, 200) for n in range(30)]
    for answer in answers:
        answer.writing.cancel()  # type: ignore[union-attr]
    settled(engine)
    assert begin(engine, [1, 2, 3]).wait().finish == "length"


def test_what_cannot_be_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="empty"):
        begin(engine, [])
    with pytest.raises(InputError, match="context"):
        begin(engine, [1] * 250, 10)
    with pytest.raises(InputError, match="no token"):
        begin(engine, [1], logit_bias={10**6: 1.0})
    assert begin(engine, [1]).wait().finish == "length"


def test_a_fault_of_a_step_ends_what_was_under_way_and_nothing_more(engine: Engine, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    step = engine.runner.step

    class Panic(BaseException):
        """As pyo3's, which is no Exception."""

    for error in (RuntimeError("out of memory"), IndexError("odd"), Panic("panicked")):
        left = [error]

        def broken(*args: Any, left: list[BaseException] = left) -> torch.Tensor:
            if left:
                raise left.pop()
            return step(*args)

        monkeypatch.setattr(engine.runner, "step", broken)
        answers = [begin(engine, [n] * 12, 20) for n in range(3)]
        ended = [answer.wait() for answer in answers]
        assert any(answer.error for answer in ended)
        assert all(a.error or a.writing.written == greedy(model, [n] * 12, 20) for n, a in enumerate(ended))  # type: ignore[union-attr]
        assert begin(engine, [5] * 12).wait().writing.written == greedy(model, [5] * 12, 8)  # type: ignore[union-attr]
        settled(engine)


def test_a_fault_of_a_first_token_is_its_own(engine: Engine, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its group have theirs once, counted once, though their prompts were read together."""
    took = Sampler.took

    def broken(sampler: Sampler, id: int) -> None:
        if sampler.sampling.max_tokens == 29:
            raise ValueError("an unlucky number")
        took(sampler, id)

    monkeypatch.setattr(Sampler, "took", broken)
    together = threading.Event()
    submit(together.wait)
    answers = [begin(engine, [n] * 12, 29 if n == 13 else 30) for n in (11, 12, 13, 14)]
    together.set()
    ended = [answer.wait() for answer in answers]
    assert [type(answer.error) for answer in ended] == [type(None), type(None), ValueError, type(None)]
    for n, answer in zip((11, 12, 14), (ended[0], ended[1], ended[3]), strict=True):
        assert answer.writing and answer.writing.written == greedy(model, [n] * 12, 30)
        assert answer.writing.sampler.counts.total() == len(answer.writing.written)
    settled(engine)


def test_a_fault_of_a_prompt_is_its_own(engine: Engine, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read, read_many = engine.runner.prompt, engine.runner.prompts

    def broken(slot: int, ids: Any, *args: Any, **more: Any) -> torch.Tensor:
        if 13 in ids:
            raise ValueError("an unlucky number")
        return read(slot, ids, *args, **more)

    def broken_too(first: int, rows: Any, *args: Any) -> torch.Tensor:
        if any(13 in row for row in rows):
            raise ValueError("an unlucky number among others")
        return read_many(first, rows, *args)

    monkeypatch.setattr(engine.runner, "prompt", broken)
    monkeypatch.setattr(engine.runner, "prompts", broken_too)
    answers = [begin(engine, [n] * 12, 30) for n in (11, 12, 13, 14)]
    ended = [answer.wait() for answer in answers]
    assert [type(answer.error) for answer in ended] == [type(None), type(None), ValueError, type(None)]
    for n, answer in zip((11, 12, 14), (ended[0], ended[1], ended[3]), strict=True):
        assert answer.writing.written == greedy(model, [n] * 12, 30)  # type: ignore[union-attr]
    settled(engine)


def test_a_grammar_that_breaks_off_is_its_own(engine: Engine, model: Any) -> None:
    """llguidance gives up an object of 500 optional properties after the first tokens."""
    grammar = json_grammar({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(500)}})
    good = [begin(engine, [n] * 12, 60) for n in range(4)]
    bad = begin(engine, [50] * 12, 60, grammar=grammar).wait()
    assert isinstance(bad.error, InputError) and "could not be held" in str(bad.error) and bad.finish is None
    for n, answer in enumerate(good):
        assert answer.wait().writing.written == greedy(model, [n] * 12, 60)  # type: ignore[union-attr]
    settled(engine)


def test_asked_from_many_threads(engine: Engine, model: Any) -> None:
    wrong: list[int] = []

    def one(n: int) -> None:
        if begin(engine, [n] * 9, 6).wait().writing.written != greedy(model, [n] * 9, 6):  # type: ignore[union-attr]
            wrong.append(n)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_the_end(model: Any) -> None:
    engine = Engine(model, tokenizer())
    answer = begin(engine, [1] * 10, 200)
    engine.close()
    assert answer.wait().error is not None or answer.finish == "length"
    assert not engine._thread.is_alive()
    with pytest.raises(InputError, match="unloaded"):
        begin(engine, [1])


def test_an_adapter_of_another_engine_is_no_prefix(engine: Engine) -> None:
    """What an adapter read is not what the base would have: nothing is shared between them."""
    first = begin(engine, [3] * 40).wait()
    engine._places.slots[0].key = ("some adapter", "")
    again = begin(engine, [3] * 40).wait()
    assert again.writing and again.writing.cached_tokens == 0
    assert first.writing and again.writing.written == first.writing.written

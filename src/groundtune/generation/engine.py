"""One model that many requests share: continuous batching (Yu et al., Orca, OSDI 2022, section 4), prefix reuse, cancelling.

A thread of the engine's own goes round: sequences that ended or were dropped leave, waiting ones come in and their prompts are
read, then every sequence gets one token in a single forward pass. Leaves out what is asked and answered over HTTP.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from groundtune.errors import InputError
from groundtune.generation.constraint import Constraint
from groundtune.generation.places import Key, Places, common
from groundtune.generation.runner import Runner, open_runner
from groundtune.generation.sampling import Choice, Sampler, Sampling, choose, prompt_choices
from groundtune.generation.vocabulary import Vocabulary
from groundtune.generation.writing import Token, Writer
from groundtune.nn.computing import in_turn

Finish = Literal["stop", "length"]
#: prompt tokens read between two steps of those that are writing
_PROMPT_TOKENS = 512
#: a common beginning longer than this is waited for until another has read it
_WORTH_WAITING = 64
#: share of the machine's memory, and bytes, that keys and values of one model take at most
_CACHE_SHARE, _CACHE_BYTES = 0.25, 4 << 30


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of one step for one sequence.

    Attributes:
        text: what may be shown now.
        tokens: whose text that is.
        finish: why it ended; None: it goes on.
        error: what went wrong instead.
        prompt: at first, the prompt's own tokens, if they were asked for; the first has no log-probability (0.0).
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish: Finish | None = None
    error: Exception | None = None
    prompt: tuple[Token, ...] = ()

    def with_next(self, other: Piece) -> Piece:
        """This piece and the one behind it as one."""
        tokens, prompt = (*self.tokens, *other.tokens), (*self.prompt, *other.prompt)
        return Piece(self.text + other.text, tokens, other.finish, other.error, prompt)


class Writing:
    """A request under way; made by :meth:`Engine.submit`.

    Attributes:
        prompt: token ids.
        cached_tokens: of the prompt, that another request had left.
        written: token ids so far, the one that ended it included.
        logprob: sum of their log-probabilities.
    """

    def __init__(
        self, prompt: Sequence[int], sampler: Sampler, sink: Callable[[Piece], None], adapter: str | None, salt: str
    ) -> None:
        self.prompt, self.sampler, self.sink, self.adapter, self.salt = list(prompt), sampler, sink, adapter, salt
        self.written: list[int] = []
        self.cached_tokens, self.logprob, self.cancelled = 0, 0.0, False
        self.writer = Writer(sampler.sampling.stop)
        self.submitted, self.first_token_at = time.perf_counter(), 0.0

    @property
    def key(self) -> Key:
        """What another must share to take over what this one has read."""
        return self.adapter, self.salt

    @property
    def needs(self) -> int:
        """Tokens of the cache it may come to fill."""
        return len(self.prompt) + self.sampler.sampling.max_tokens

    def cancel(self) -> None:
        """Give it up: nothing more is computed for it."""
        self.cancelled = True


class Engine:
    """A model that writes for many at once.

    Args:
        model: a causal model of transformers in evaluation mode.
        tokenizer: its fast tokenizer.
        sequences: most that are written at the same time; more wait.
        cache_bytes: most memory of keys and values; default: a quarter of the machine's, at most 4 GiB.
    """

    def __init__(self, model: Any, tokenizer: Any, *, sequences: int = 64, cache_bytes: int | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer
        settings = model.config.get_text_config()
        ends = model.generation_config.eos_token_id if model.generation_config else None
        own = set(ends) if isinstance(ends, list) else {ends}
        self.vocabulary = Vocabulary(tokenizer, settings.vocab_size, {int(id) for id in own if id is not None})
        self.runner: Runner = in_turn(open_runner, model)
        self.sequences, self._cache_bytes = sequences, cache_bytes or default_cache_bytes()
        self._places = Places(self.runner, most=sequences, cache_bytes=self._cache_bytes)
        self._context = int(getattr(settings, "max_position_embeddings", 0) or 2048)
        self._waiting: deque[Writing] = deque()
        self._active: list[Writing] = []
        self._wake = threading.Condition()
        self._closed = False
        self.default_temperature = recommended_temperature(model.generation_config)
        self.after_step: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # ---------------------------------------------------------------- from outside

    @property
    def context_tokens(self) -> int:
        """Longest prompt and answer together: the model's context, or what the cache has room for."""
        each = self.runner.bytes_per_token
        return min(self._context, self._cache_bytes // each) if each else self._context

    @property
    def load(self) -> tuple[int, int]:
        """Sequences that are written now, and that wait."""
        return len(self._active), len(self._waiting)

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        sink: Callable[[Piece], None],
        *,
        adapter: str | None = None,
        salt: str = "",
    ) -> Writing:
        """Write behind a prompt.

        Args:
            prompt: token ids, at least one.
            sink: gets every piece, on the engine's thread: it must be quick. The last has ``finish`` or ``error``.
            adapter: one that was added to ``adapters``.
            salt: prompts of different salts share no cache.

        Raises:
            InputError: empty, longer than the context, a bias on no token, or a grammar that cannot be held to.
        """
        check_room(prompt, sampling, self.context_tokens)
        over = [id for id in sampling.logit_bias if not 0 <= id < self.vocabulary.size]
        if over:
            raise InputError(f"logit_bias: {over[0]} is no token", expected=f"ids below {self.vocabulary.size}")
        constraint = Constraint(sampling.grammar, self.vocabulary) if sampling.grammar else None
        sequence = Writing(prompt, Sampler(sampling, constraint), sink, adapter, salt)
        with self._wake:
            if self._closed:
                raise InputError("the model was just unloaded", next_step="ask again")
            self._waiting.append(sequence)
            self._wake.notify()
        return sequence

    def add_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter of this model, between two steps.

        Raises:
            InputError: none there, or none of this model.
        """

        def add() -> None:
            if name not in self.runner.adapters:
                self.runner.adapters.add(name, folder)

        in_turn(add)

    def remove_adapter(self, name: str) -> None:
        """Let go of an adapter; sequences under way must have ended."""

        def remove() -> None:
            self.runner.adapters.remove(name)
            self._places.forget(name, len(self._active))

        in_turn(remove)

    def close(self) -> None:
        """End the thread; what was under way gets an error."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(30)

    # ---------------------------------------------------------------- the engine's thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._active or self._closed):
                    self._wake.wait()
                if self._closed:
                    break
            try:
                in_turn(self._round)
            except (
                BaseException
            ) as error:  # a panic in a library's Rust is none of Exception, and ends no other request
                self._fail(error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}"))
            for tell in self.after_step:
                tell()
        self._fail(InputError("the model was unloaded", next_step="ask again"))
        for tell in self.after_step:
            tell()

    def _fail(self, error: Exception) -> None:
        with self._wake:
            gone = [*self._active, *(self._waiting if self._closed else ())]
            if self._closed:
                self._waiting.clear()
        self._active = []
        self._places.clear()
        for sequence in gone:
            sequence.sink(Piece(error=error))

    @torch.inference_mode()
    def _round(self) -> None:
        for sequence in [s for s in self._active if s.cancelled]:
            self._leave(sequence)
        self._admit()
        if self._active:
            self._step()

    def _admit(self) -> None:
        budget = _PROMPT_TOKENS
        while budget > 0 and (group := self._next_group()):
            budget -= self._read(group)

    def _next_group(self) -> list[Writing]:
        """Waiting sequences whose prompts are read in one forward pass, in the order they came."""
        group: list[Writing] = []
        rests: list[int] = []
        with self._wake:
            while self._waiting:
                one = self._waiting[0]
                if not one.cancelled:
                    if not self._fits(one, group):
                        break
                    rest = len(one.prompt) - self._places.known(one.prompt, one.key)
                    if group and not self._beside(one, rest, group, rests):
                        break
                    group.append(one)
                    rests.append(rest)
                self._waiting.popleft()
        return group

    def _fits(self, sequence: Writing, group: Sequence[Writing]) -> bool:
        others = [*self._active, *group]
        if not others:
            return True
        longest = max(s.needs for s in (*others, sequence))
        memory = (len(others) + 1) * longest * self.runner.bytes_per_token
        return len(others) < self.sequences and memory <= self._cache_bytes

    def _beside(self, one: Writing, rest: int, group: Sequence[Writing], rests: Sequence[int]) -> bool:
        """Whether a prompt is read with others: padding stays small, and none of them reads what this one could take over."""
        if any(s.sampler.sampling.prompt_logprobs or not s.sampler.sampling.max_tokens for s in (one, group[0])):
            return False
        shared = max((common(one.prompt, s.prompt) for s in group if s.key == one.key), default=0)
        saved = shared - (len(one.prompt) - rest) if self.runner.can_reuse else 0
        return saved < _WORTH_WAITING and (len(group) + 1) * max(rest, *rests) <= _PROMPT_TOKENS

    def _read(self, group: Sequence[Writing]) -> int:
        """Read prompts and write their first tokens; tokens that were read. What cannot be read together is read one by one."""
        first = len(self._active)
        try:
            logits, read = self._prompted(group)
        except Exception as error:
            del self._active[first:]
            if len(group) > 1:
                return sum(self._read([sequence]) for sequence in group)
            group[0].sink(Piece(error=error))
            return 0
        for row, sequence in enumerate(group, len(logits) - len(group)):
            try:
                self._first(sequence, logits[: row + 1])
            except Exception as error:
                if sequence in self._active:
                    self._leave(sequence)
                sequence.sink(Piece(error=error))
        return read

    def _prompted(self, group: Sequence[Writing]) -> tuple[torch.Tensor, int]:
        """Read prompts into the next slots; logits after them, or after each token of a single one, and tokens that were read."""
        first = len(self._active)
        self._places.make_room(max(s.needs for s in (*self._active, *group)), first + len(group))
        every = group[0].sampler.sampling.prompt_logprobs
        for slot, sequence in enumerate(group, first):
            sequence.cached_tokens = self._places.take(slot, sequence.prompt, sequence.key, anew=every)
            self._active.append(sequence)
        starts = [s.cached_tokens for s in group]
        rests = [s.prompt[start:] for s, start in zip(group, starts, strict=True)]
        if len(group) == 1:
            logits = self.runner.prompt(first, rests[0], starts[0], group[0].adapter, every=every)
        else:
            logits = self.runner.prompts(first, rests, starts, [s.adapter for s in group])
        for slot, sequence in enumerate(group, first):
            self._places.slots[slot].tokens = list(sequence.prompt)
        return logits, sum(map(len, rests))

    def _first(self, sequence: Writing, logits_TV: torch.Tensor) -> None:
        """Tell what was asked about the prompt, and write the first token; the last row is what stands behind the prompt."""
        if sequence.sampler.sampling.prompt_logprobs:
            self._tell_prompt(sequence, logits_TV)
        if sequence.sampler.sampling.max_tokens == 0:
            sequence.sink(Piece(finish="length"))
            self._leave(sequence)
        else:
            self._took(sequence, choose(logits_TV[-1:], [sequence.sampler], self.vocabulary.known)[0])

    def _step(self) -> None:
        active = list(self._active)
        ids = [s.written[-1] for s in active]
        slots = self._places.slots[: len(active)]
        places = [len(slot.tokens) for slot in slots]
        logits_BV = self.runner.step(ids, places, [s.adapter for s in active])
        for slot, id in zip(slots, ids, strict=True):
            slot.tokens.append(id)
            slot.used = self._places.clock
        choices = choose(logits_BV, [s.sampler for s in active], self.vocabulary.known)
        for sequence, choice in zip(active, choices, strict=True):
            self._took(sequence, choice)

    def _took(self, sequence: Writing, choice: Choice) -> None:
        """Put a token behind a sequence, tell its sink, and let it go if that was the last."""
        sequence.written.append(choice.id)
        sequence.logprob += choice.logprob
        if not sequence.first_token_at:
            sequence.first_token_at = time.perf_counter()
        constraint = sequence.sampler.constraint
        if constraint is not None and constraint.fault:
            fault = InputError(f"the answer could not be held to its JSON Schema to the end: {constraint.fault}", expected="a simpler schema")  # fmt: skip
            sequence.sink(Piece(error=fault))
            self._leave(sequence)
            return
        finish: Finish | None = None
        text = ""
        tokens: list[Token] = []
        if choice.id in self.vocabulary.ends:
            finish = "stop"
        else:
            text, tokens, stopped = sequence.writer.add(self._token(choice))
            if stopped:
                sequence.writer = Writer(())
                finish = "stop"
            elif constraint is not None and constraint.finished:
                finish = "stop"
            elif len(sequence.written) >= sequence.sampler.sampling.max_tokens:
                finish = "length"
        if finish:
            rest, others = sequence.writer.end()
            text, tokens = text + rest, [*tokens, *others]
        if text or tokens or finish:
            sequence.sink(Piece(text, tuple(tokens), finish))
        if finish:
            self._leave(sequence)

    def _token(self, choice: Choice) -> Token:
        told = tuple((self.vocabulary.name_of(id), value) for id, value in choice.alternatives)
        return Token(choice.id, self.vocabulary.bytes_of(choice.id), choice.logprob, told)

    def _tell_prompt(self, sequence: Writing, logits: Any) -> None:
        ids = sequence.prompt
        rest = prompt_choices(logits[:-1], ids[1:], sequence.sampler.sampling.alternatives) if len(ids) > 1 else []
        tokens = [Token(ids[0], self.vocabulary.bytes_of(ids[0]), 0.0), *map(self._token, rest)]
        sequence.sink(Piece(prompt=tuple(tokens)))

    def _leave(self, sequence: Writing) -> None:
        """Take a sequence out; the last one takes its place, and what it leaves behind it stays to be reused."""
        at, last = self._active.index(sequence), len(self._active) - 1
        self._places.slots[at].used = self._places.tick()
        self._places.swap(at, last)
        self._active[at] = self._active[last]
        self._active.pop()


def check_room(prompt: Sequence[int], sampling: Sampling, context_tokens: int) -> None:
    """See that a prompt and what may be written behind it have room.

    Raises:
        InputError: they have not, or the prompt is empty.
    """
    if not prompt:
        raise InputError("the prompt is empty", expected="at least one token")
    if len(prompt) + sampling.max_tokens > context_tokens:
        raise InputError(
            f"{len(prompt)} tokens and {sampling.max_tokens} to write are over the context",
            expected=f"at most {context_tokens}",
        )


def default_cache_bytes() -> int:
    """Memory that the keys and values of one model may take on this machine."""
    import psutil

    return min(_CACHE_BYTES, int(_CACHE_SHARE * psutil.virtual_memory().total))


def recommended_temperature(settings: Any) -> float:
    """Of a request that names none: the model's own recommendation, else 1, as OpenAI's."""
    own = getattr(settings, "temperature", None)
    return 1.0 if own is None else float(own)

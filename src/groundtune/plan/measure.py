"""How fast this machine trains: two real blocks with the real head, at the real micro-batch, timed for a few seconds.

Blocks of one model are alike, so one block's forward and backward seconds, times their number, plus what is not blocks
(embeddings, head, loss), plus the optimizer over the trained weights, is a step. Weights are made up: time does not depend on their
values. Passes grow from 32 tokens to the whole micro-batch; where the seconds at hand end before, the rest is a straight line
through the smallest and the largest pass. Where two blocks do not fit the free memory they are timed narrower and scaled by their weights.
``Speed.measured_on`` says what was done. Leaves out imports, loading, and the writing of checkpoints.
"""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

from groundtune.errors import ConfigError
from groundtune.plan.attach import blocks_of
from groundtune.plan.machine import free_memory_bytes, machine_name
from groundtune.plan.memory import Run, peak_memory, skeleton, trainable_parameters
from groundtune.plan.timed import BLOCKS, Times, made_up, optimizer_seconds, timed

#: share of the free memory that timing may take
_ROOM = 0.6
#: tokens of the smallest pass, and how much larger the next one is
_SMALLEST, _GROWTH = 32, 4
#: most passes at the largest size
_PASSES = 7


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of the parts of a step, at the run's micro-batch.

    Attributes:
        block_forward, block_backward: of one block.
        rest: embeddings, head and loss, forward and backward.
        optimizer: clipping and AdamW, for all trained weights of the whole model.
        layers: blocks that go forward and backward.
        backward_layers: blocks that a gradient passes.
        frozen_layers: blocks below the trained ones, whose outputs are made once and kept (``layers``).
        measured_on: the machine, and what was scaled.
    """

    block_forward: float
    block_backward: float
    rest: float
    optimizer: float
    layers: int
    backward_layers: int
    frozen_layers: int
    measured_on: str

    def micro_batch_seconds(self, *, checkpointing: bool = False) -> float:
        """Forward and backward of the whole model."""
        again = self.block_forward if checkpointing else 0.0
        return self.rest + self.layers * self.block_forward + self.backward_layers * (self.block_backward + again)


def measure(run: Run, *, budget_seconds: float = 5.0) -> Speed:
    """Time a run's micro-batch on this machine.

    Args:
        run: rows, tokens and supervised positions of a typical micro-batch.
        budget_seconds: about how long passes may take together; a smallest one is made whatever it takes.

    Raises:
        ConfigError: the method does not go with the architecture, needs a package that is not here, or not even narrow
            blocks fit the memory.
    """
    run = replace(run, checkpointing=False, accumulation=1)
    short, narrow = _that_fits(run)
    model, sizes = made_up(short), _sizes(short)
    began = time.perf_counter()
    small = _pass(model, short, sizes[0], again=True)
    large, size = small, sizes[0]
    for following in sizes[1:]:
        expected = large.total * _tokens(following) / _tokens(size)
        if time.perf_counter() - began + 2 * expected > budget_seconds:
            break
        large, size = _pass(model, short, following), following
    passes = [large]
    while len(passes) < _PASSES and time.perf_counter() - began + large.total < budget_seconds:
        passes.append(_pass(model, short, size))
    large = Times(*(statistics.median(column) for column in zip(*map(_columns, passes[1:] or passes), strict=True)))
    whole = _extended(small, large, _tokens(sizes[0]), _tokens(size), run.rows * run.tokens)
    wider = 1.0 if narrow == 1 else _block_weights(run) / _block_weights(short)
    trained = trainable_parameters(skeleton(run))
    layers = int(run.config.get_text_config().num_hidden_layers)
    top = min(run.sizes.top, layers) if run.method == "layers" else layers
    return Speed(
        whole.forward * wider,
        whole.backward * wider,
        whole.rest * narrow,
        optimizer_seconds(model) * trained,
        top,
        max(1, layers - 2) if run.method == "llama_adapter" else top,
        layers - top,
        _words(_tokens(size) / (run.rows * run.tokens), narrow),
    )


def _columns(times: Times) -> tuple[float, float, float]:
    return times.forward, times.backward, times.rest


def _tokens(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _sizes(run: Run) -> list[tuple[int, int]]:
    """(rows, tokens) of passes that grow: one row first longer, then more rows, as far as the free memory goes."""
    room = _ROOM * free_memory_bytes(run.device)
    sizes = [(1, min(_SMALLEST, run.tokens))]
    while sizes[-1] != (run.rows, run.tokens):
        rows, tokens = sizes[-1]
        longer = min(run.tokens, tokens * _GROWTH)
        following = (1, longer) if longer > tokens else (min(run.rows, rows * _GROWTH), tokens)
        if peak_memory(_of_size(run, following)).step_bytes > room:
            break
        sizes.append(following)
    return sizes


def _of_size(run: Run, size: tuple[int, int]) -> Run:
    share = _tokens(size) / (run.rows * run.tokens)
    return replace(run, rows=size[0], tokens=size[1], supervised=max(1, round(run.supervised * share)))


def _pass(model: Any, run: Run, size: tuple[int, int], *, again: bool = False) -> Times:
    """A pass of a size; ``again``: after one that is not timed."""
    if again:
        timed(model, _of_size(run, size))
    return timed(model, _of_size(run, size))


def _extended(small: Times, large: Times, few: int, many: int, wanted: int) -> Times:
    """Seconds at so many tokens, on the line through two passes; never less than in proportion to a slope of zero."""
    if many >= wanted or many == few:
        factor = wanted / many
        return Times(*(value * factor for value in _columns(large)))

    def line(a: float, b: float) -> float:
        return b + max(0.0, b - a) / (many - few) * (wanted - many)

    return Times(*(line(a, b) for a, b in zip(_columns(small), _columns(large), strict=True)))


def _words(share: float, narrow: int) -> str:
    more = "" if share > 0.99 else f"; timed up to {share:.0%} of the tokens"
    return machine_name() + more + (f"; timed at 1/{narrow} of the width" if narrow > 1 else "")


def _that_fits(run: Run) -> tuple[Run, int]:
    """The run with two blocks, as narrow as the free memory asks for, and by what its width was divided."""
    room = _ROOM * free_memory_bytes(run.device)
    for narrow in (1, 2, 4, 8, 16):
        short = _short(run, narrow)
        if peak_memory(_of_size(short, (1, min(_SMALLEST, run.tokens)))).step_bytes < room:
            return short, narrow
    raise ConfigError(
        f"not even two narrow blocks fit {room / 1e9:.1f} GB of free memory, so nothing can be timed",
        next_step="free memory, or leave the time out: --no-measure",
    )


def _short(run: Run, narrow: int) -> Run:
    """A run of two blocks with fewer heads of the same size, and a stream and feed-forward narrower by the same factor."""
    config = copy.deepcopy(run.config)
    text = config.get_text_config()
    text.num_hidden_layers = BLOCKS
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:BLOCKS]
    if narrow > 1:
        for name in ("num_attention_heads", "num_key_value_heads", "hidden_size", "intermediate_size", "n_inner"):
            if value := getattr(text, name, None):
                setattr(text, name, max(1, value // narrow))
    sizes = replace(run.sizes, top=BLOCKS) if run.method == "layers" else run.sizes
    return replace(run, config=config, sizes=sizes)


def _block_weights(run: Run) -> int:
    block = blocks_of(skeleton(replace(_short(run, 1), method="full", attach=None)))[0]
    return sum(p.numel() for p in block.parameters())

"""BERT encoders (Devlin et al., NAACL 2019) through onnxruntime on the CPU, in float32 or with int8 matrices.

The graph is put together here from a safetensors folder and handed over in memory: no export, no file, no torch. Its
operators are onnxruntime's fused ones (https://onnxruntime.ai/docs: "ContribOperators.md"). int8 is dynamic quantization:
weights one scale a column, activations one scale a batch, found while it runs; so a vector differs a little with the
texts that it shares a batch with. Leaves out every other architecture: :func:`can_open` says what is one.

Legend: B texts, T tokens, D width.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from groundtune.nn.onnx.graph import Graph
from groundtune.nn.onnx.session import open_session

T = TypeVar("T")
R = TypeVar("R")
States = np.ndarray[Any, np.dtype[np.float32]]
#: tokens of a batch, padding included: enough for the matrices, and the activations stay in a core's cache
BATCH_TOKENS = 512


def can_open(folder: Path) -> bool:
    """Whether a folder is of a plain BERT encoder in one safetensors file, of numbers that numpy has (no bfloat16)."""
    try:
        settings: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    plain = settings.get("model_type") == "bert" and settings.get("hidden_act") == "gelu"
    absolute = settings.get("position_embedding_type", "absolute") == "absolute" and not settings.get("is_decoder")
    file = folder / "model.safetensors"
    return plain and absolute and file.exists() and not _of_type(file, "BF16")


def _of_type(file: Path, wanted: str) -> bool:
    """Whether a safetensors file has a tensor of a type, by its header."""
    from safetensors import safe_open

    with safe_open(file, "numpy") as held:
        return any(held.get_slice(name).get_dtype() == wanted for name in held.keys())  # noqa: SIM118


class Bert:
    """An opened encoder.

    Args:
        folder: ``config.json`` and ``model.safetensors``.
        int8: multiply in whole numbers of 8 bits.
    """

    def __init__(self, folder: Path, *, int8: bool = False) -> None:
        settings: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.width = int(settings["hidden_size"])
        self._session = open_session(build(folder, settings, int8=int8))

    def states(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[int, States]]:
        """(position, last hidden states (T, D)) of every row of token ids, in no particular order."""
        todo = list(batches([len(row) for row in rows]))
        for chosen, states_BTD in ahead(partial(self._batch, rows), todo):
            for at, i in enumerate(chosen):
                yield i, states_BTD[at, : len(rows[i])]

    def _batch(self, rows: Sequence[Sequence[int]], chosen: list[int]) -> tuple[list[int], States]:
        width = max(len(rows[i]) for i in chosen)
        ids_BT = np.zeros((len(chosen), width), dtype=np.int32)
        mask_BT = np.zeros((len(chosen), width), dtype=np.int32)
        for at, i in enumerate(chosen):
            ids_BT[at, : len(rows[i])] = rows[i]
            mask_BT[at, : len(rows[i])] = 1
        (states_BTD,) = self._session.run(None, {"ids": ids_BT, "mask": mask_BT})
        return chosen, states_BTD


def ahead(work: Callable[[T], R], todo: Sequence[T]) -> Iterator[R]:
    """What work makes of each, in order; the next two are under way while the caller is busy with one."""
    if len(todo) < 2:
        yield from map(work, todo)
        return
    left = iter(todo)
    with ThreadPoolExecutor(1, "encoder") as pool:
        running = deque(pool.submit(work, one) for one in islice(left, 2))
        while running:
            made = running.popleft().result()
            running.extend(pool.submit(work, one) for one in islice(left, 1))
            yield made


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of rows in batches of at most ``BATCH_TOKENS`` tokens, like lengths together, the longest first."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def build(folder: Path, settings: dict[str, Any], *, int8: bool) -> bytes:
    """The ONNX model of a folder: token ids and mask (B, T), int32, to hidden states (B, T, D), float32."""
    from safetensors.numpy import load_file

    weights = {name.removeprefix("bert."): array for name, array in load_file(folder / "model.safetensors").items()}
    weights = {name: array.astype(np.float32, copy=False) for name, array in weights.items() if array.dtype.kind == "f"}
    graph = Graph()
    layer_norm = {"epsilon": float(settings["layer_norm_eps"])}
    graph.weight("as rows", np.array([-1, 1, int(settings["hidden_size"])], dtype=np.int64))
    graph.weight("one", np.ones(1, dtype=np.float32))
    graph.weight("zero", np.zeros(1, dtype=np.float32))
    state = _embeddings(graph, weights, layer_norm)
    for number in range(int(settings["num_hidden_layers"])):
        state = _layer(graph, weights, f"encoder.layer.{number}.", state, settings, layer_norm, int8)
    inputs = [(name, "int32", ("B", "T")) for name in ("ids", "mask")]
    return graph.model(inputs, state, ("B", "T", int(settings["hidden_size"])))


def _embeddings(graph: Graph, weights: dict[str, Any], layer_norm: dict[str, float]) -> str:
    words = graph.weight("words", weights["embeddings.word_embeddings.weight"])
    # every token is of the first segment, so its row is part of every position's
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    norm = [graph.weight(f"embeddings.{n}", weights[f"embeddings.LayerNorm.{n}"]) for n in ("weight", "bias")]
    inputs = ["ids", "", words, graph.weight("places", places), "", *norm]
    return str(graph.add("EmbedLayerNormalization", inputs, layer_norm, outputs=2, microsoft=True)[0])


def _layer(
    graph: Graph, weights: dict[str, Any], at: str, state: str, settings: dict[str, Any], layer_norm: dict[str, float], int8: bool
) -> str:  # fmt: skip
    heads, width = int(settings["num_attention_heads"]), int(settings["hidden_size"])

    def times(name: str, matrix: Any, given: str) -> str:
        return _int8_product(graph, at + name, matrix, given) if int8 else _product(graph, at + name, matrix, given)

    def normed(name: str, given: str, skipped: str) -> str:
        norm = [graph.weight(f"{at}{name}.{n}", weights[f"{at}{name}.LayerNorm.{n}"]) for n in ("weight", "bias")]
        bias = graph.weight(f"{at}{name}.dense.bias", weights[f"{at}{name}.dense.bias"])
        return _layer_norm(graph, graph.add("Add", [graph.add("Add", [given, bias]), skipped]), norm, layer_norm)

    parts = [f"{at}attention.self.{n}" for n in ("query", "key", "value")]
    joined = times("attention.in", np.concatenate([weights[f"{p}.weight"] for p in parts]).T, state)
    bias = graph.weight(at + "attention.in.bias", np.concatenate([weights[f"{p}.bias"] for p in parts]))
    sizes = graph.weight(at + "attention.sizes", np.full(3, width, dtype=np.int64))
    split = graph.add("Split", [joined, sizes], {"axis": 2}, outputs=3)
    attended = graph.add("MultiHeadAttention", [*split, bias, "mask"], {"num_heads": heads}, microsoft=True)
    attended = times("attention.out", weights[at + "attention.output.dense.weight"].T, attended)
    state = normed("attention.output", attended, state)
    inner = times("inner", weights[at + "intermediate.dense.weight"].T, state)
    bias = graph.weight(at + "inner.bias", weights[at + "intermediate.dense.bias"])
    inner = graph.add("BiasGelu", [inner, bias], microsoft=True)
    return normed("output", times("outer", weights[at + "output.dense.weight"].T, inner), state)


def _layer_norm(graph: Graph, given: str, norm: Sequence[str], epsilon: dict[str, float]) -> str:
    """LayerNorm over D of (B, T, D), every token as an instance of one channel.

    onnxruntime computes InstanceNormalization with the processor's vector instructions and LayerNormalization number by
    number, which takes two to six times as long.
    """
    rows = graph.add("Reshape", [given, "as rows"])
    units = graph.add("InstanceNormalization", [rows, "one", "zero"], epsilon)
    shifted = graph.add("Add", [graph.add("Mul", [units, norm[0]]), norm[1]])
    return str(graph.add("Reshape", [shifted, graph.add("Shape", [given])]))


def _product(graph: Graph, name: str, matrix: Any, given: str) -> str:
    return str(graph.add("MatMul", [given, graph.weight(name, matrix)]))


def _int8_product(graph: Graph, name: str, matrix: Any, given: str) -> str:
    """(B, T, in) times (in, out): weights symmetric around 0, one scale a column."""
    scales = np.maximum(np.abs(matrix).max(0), 1e-8) / 127
    rounded = np.clip(np.rint(matrix / scales), -127, 127).astype(np.int8)
    inputs = [given, graph.weight(name, rounded), graph.weight(name + ".scales", scales.astype(np.float32))]
    return str(graph.add("DynamicQuantizeMatMul", inputs, microsoft=True))

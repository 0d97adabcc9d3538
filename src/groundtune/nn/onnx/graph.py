"""ONNX models as bytes: the few message types that a graph needs, in protocol buffers' wire format.

Written here so that nobody needs the package ``onnx`` or a converted file beside the weights. Field numbers are those
of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3). Leaves out what the graphs compute.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: TensorProto.DataType of numpy's types
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
#: AttributeProto.AttributeType
_FLOAT, _INT, _INTS = 1, 2, 7
#: versions of the file format, of ONNX's own operators and of onnxruntime's (the domain com.microsoft)
_IR, _OPSET, _MICROSOFT = 8, 17, 1


class Graph:
    """A graph under construction: nodes in the order in which they are added, which must be one they can run in."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._names = 0

    def weight(self, name: str, array: Any) -> str:
        """Keep an array in the graph; returns its name."""
        array = np.ascontiguousarray(array)
        dims = b"".join(_number(1, d) for d in array.shape)
        kind = _number(2, _TYPES[array.dtype.name])
        self._weights.append(dims + kind + _bytes(8, name.encode()) + _bytes(9, array.tobytes()))
        return name

    def add(
        self, kind: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None, *, outputs: int = 1, microsoft: bool = False
    ) -> Any:  # fmt: skip
        """A node of an operator; returns its output's name, or the list of them where there are several."""
        self._names += 1
        names = [f"{kind}_{self._names}_{n}" for n in range(outputs)]
        parts = [_bytes(1, i.encode()) for i in inputs] + [_bytes(2, n.encode()) for n in names]
        parts.append(_bytes(4, kind.encode()))
        parts += [_bytes(5, _attribute(name, value)) for name, value in (attributes or {}).items()]
        if microsoft:
            parts.append(_bytes(7, b"com.microsoft"))
        self._nodes.append(b"".join(parts))
        return names[0] if outputs == 1 else names

    def model(
        self, inputs: Sequence[tuple[str, str, Sequence[str | int]]], output: str, shape: Sequence[str | int]
    ) -> bytes:
        """The finished model.

        Args:
            inputs: name, numpy type and shape of each; a word in a shape stands for a size that varies.
            output: name of a float32 tensor.
            shape: of the output.
        """
        graph = [_bytes(1, node) for node in self._nodes] + [_bytes(2, b"groundtune")]
        graph += [_bytes(5, weight) for weight in self._weights]
        graph += [_bytes(11, _value(*given)) for given in inputs]
        graph.append(_bytes(12, _value(output, "float32", shape)))
        versions = (_number(2, _OPSET), _bytes(1, b"com.microsoft") + _number(2, _MICROSOFT))
        head = _number(1, _IR) + _bytes(2, b"groundtune")
        return head + _bytes(7, b"".join(graph)) + b"".join(_bytes(8, v) for v in versions)


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    head = _bytes(1, name.encode())
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _INT)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    return head + b"".join(_number(8, v) for v in value) + _number(20, _INTS)


def _value(name: str, kind: str, shape: Sequence[str | int]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, d) if isinstance(d, int) else _bytes(2, d.encode())) for d in shape)
    tensor = _number(1, _TYPES[kind]) + _bytes(2, dims)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """A number, seven bits a byte, the least first; negative ones as two's complement of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

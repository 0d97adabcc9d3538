"""Which number format training uses on this machine: bf16 only where the hardware multiplies it.

On a CPU that is AMX. Without any bf16 unit it is emulated, and slower than float32 (`groundtune bench tune` shows how much: TRL's
default is bf16 everywhere); with AVX-512's unit alone, too: autocast to bf16 took 1.4 (pebble) to 1.8 times (a width of 1,024)
float32's CPU seconds on a Xeon with avx512_bf16 and no AMX.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: CPU flag of the unit that multiplies bf16 matrices
_UNIT = "amx_bf16"


@dataclass(frozen=True, slots=True)
class Precision:
    """A number format for the forward and backward pass; weights and optimizer stay float32.

    Attributes:
        bf16: autocast to bf16.
        why: in a few words.
    """

    bf16: bool
    why: str

    def __str__(self) -> str:
        return f"{'bf16' if self.bf16 else 'fp32'} ({self.why})"


@cache
def precision() -> Precision:
    """The format for this machine's GPU, or for its CPU."""
    import torch

    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported()
        return Precision(able, f"GPU {'with' if able else 'without'} bf16")
    able = _UNIT in cpu_flags()
    return Precision(able, f"CPU {'with' if able else 'without'} {_UNIT}")


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the CPU; none where the system does not say."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))

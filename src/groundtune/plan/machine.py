"""What training would run on: CPU or GPU, its number format, and the memory and disk that are free now."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: where Linux says what memory a container may use: (limit, used), cgroup 2 and 1
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


@dataclass(frozen=True, slots=True)
class Device:
    """Where the model is.

    Attributes:
        kind: ``cpu`` or ``cuda``.
        bf16: matrix products in bf16 by autocast; weights, gradients and optimizer stay float32.
    """

    kind: Literal["cpu", "cuda"] = "cpu"
    bf16: bool = False

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"{'GPU' if self.kind == 'cuda' else 'CPU'} {'bf16' if self.bf16 else 'fp32'}"


def this_device() -> Device:
    """The device that training takes on this machine."""
    import torch

    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.is_bf16_supported())
    return Device("cpu")


def free_memory_bytes(device: Device) -> int:
    """Memory a training process could take now: the GPU's, or the machine's and the container's, this process included."""
    if device.kind == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())
    import psutil

    own = int(psutil.Process().memory_info().rss)
    free = int(psutil.virtual_memory().available)
    for limit, used in _LIMITS:
        if (room := _room(Path(limit), Path(used))) is not None:
            free = min(free, room)
    return free + own


def _room(limit: Path, used: Path) -> int | None:
    try:
        most = limit.read_text(encoding="ascii").strip()
        return None if most == "max" else int(most) - int(used.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def free_disk_bytes(folder: Path) -> int:
    """Free bytes where a folder is, or would be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def machine_name() -> str:
    """The processor and its threads, or the GPU."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    name = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    threads = torch.get_num_threads()
    return f"{name or 'CPU'}, {threads} thread{'s' if threads != 1 else ''} of {os.cpu_count()} cores"

"""What is free: memory of the machine and of the container, disk."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from groundtune.plan import machine
from groundtune.plan.machine import Device, free_disk_bytes, free_memory_bytes, machine_name, this_device


def test_free_memory_is_the_machines_and_this_process() -> None:
    free = free_memory_bytes(Device())
    assert 0 < free <= psutil.virtual_memory().total


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text("3000000", encoding="ascii")
    used.write_text("1000000", encoding="ascii")
    monkeypatch.setattr(machine, "_LIMITS", ((str(limit), str(used)),))
    own = psutil.Process().memory_info().rss
    assert abs(free_memory_bytes(Device()) - own - 2_000_000) < 50_000_000
    limit.write_text("max\n", encoding="ascii")
    assert free_memory_bytes(Device()) > 100_000_000


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "a" / "b") > 0


def test_the_device_has_a_name() -> None:
    assert this_device().name in {"CPU fp32", "GPU bf16", "GPU fp32"}
    assert Device("cuda", True).name == "GPU bf16"
    assert machine_name()

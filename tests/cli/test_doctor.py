"""``groundtune doctor`` (``docs/guards.md``, row 32): versions out of range are found, with the command that mends them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from groundtune.cli.doctor import mend, packages, warnings_of
from sample_project import environment, run

REQUIRES = {
    "groundtune": ["torch<2.14,>=2.6", "transformers<6,>=5.17", 'rapidocr>=3.10; extra == "ocr"', 'pytest>=8; extra == "dev"'],
    "transformers": ["tokenizers<0.24,>=0.22", 'jax; extra == "flax"', 'pywin32; sys_platform == "none"'],
    "tokenizers": ["huggingface-hub<3"],
}  # fmt: skip
GOOD = {"torch": "2.13.0+cpu", "transformers": "5.23.0", "tokenizers": "0.23.3", "huggingface-hub": "2.4.0"}


def wrong(versions: dict[str, str], requires: dict[str, list[str]] = REQUIRES) -> list[tuple[str, str]]:
    def needed(name: str) -> Sequence[str]:
        return requires.get(name, [])

    found = packages(version_of=versions.get, requires=needed)
    return [(p.name, p.by) for p in found if not p.ok]


def test_row_32_what_is_missing_or_out_of_range_is_found() -> None:
    assert wrong(GOOD) == []  # the extra `ocr` is not installed, which is no fault
    assert wrong({**GOOD, "transformers": "4.57.6"}) == [("transformers", "groundtune")]
    assert wrong({k: v for k, v in GOOD.items() if k != "torch"}) == [("torch", "groundtune")]
    assert wrong({**GOOD, "rapidocr": "1.2.3"}) == [("rapidocr", "groundtune[ocr]")]
    assert wrong({**GOOD, "tokenizers": "0.25.0"}) == [("tokenizers", "transformers")]  # upgraded by something else
    assert wrong({**GOOD, "huggingface-hub": "3.0"}) == [("huggingface-hub", "tokenizers")]
    assert wrong({**GOOD, "torch": "2.14.0"}) == [("torch", "groundtune")]


def test_row_32_the_command_mends_all_of_it() -> None:
    found = packages(
        version_of={**GOOD, "transformers": "4.57.6", "torch": "2.14.0+cpu"}.get,
        requires=lambda name: REQUIRES.get(name, []),
    )
    command = mend([p for p in found if not p.ok], "2.14.0+cpu")
    assert command == (
        "pip install 'torch<2.14,>=2.6' 'transformers<6,>=5.17' --extra-index-url https://download.pytorch.org/whl/cpu"
    )
    assert "--extra-index-url" not in mend([p for p in found if not p.ok], "2.14.0")
    assert mend([], None) == ""


@pytest.fixture
def spoilt(tmp_path: Path) -> dict[str, str]:
    """An environment in which groundtune says that it needs a package nobody has, and a version that is not there."""
    info = tmp_path / "groundtune-0.1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.3", "Name: groundtune", "Version: 0.1.0", "Requires-Dist: no-such-package-of-ours>=2"]
    (info / "METADATA").write_text("\n".join([*lines, "Requires-Dist: torch<2", ""]), encoding="utf-8")
    return environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def test_row_32_faults_end_in_exit_code_2_and_one_message(spoilt: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "groundtune", "doctor", "--project", tmp_path],
        capture_output=True, text=True, env=spoilt, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no-such-package-of-ours is missing: groundtune needs >=2" in done.stderr
    assert "groundtune needs <2" in done.stderr
    assert "next: pip install 'no-such-package-of-ours>=2' 'torch<2'" in done.stderr
    assert done.stderr.count("groundtune: ") == 1
    assert "! torch" in done.stdout
    assert "all packages are in range" not in done.stdout


def test_the_machine_is_described() -> None:
    done = run("doctor")
    for word in ("python ", "torch ", "cpu ", "memory ", "disk ", "transformers"):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


def test_what_will_not_go_well_is_said() -> None:
    here = {"load": 0.5, "cores": 2, "threads": 2, "torch_build": "CPU", "gpu": None, "free_memory_bytes": 8e9}
    assert warnings_of(here, 50e9) == []
    assert "load 9" in warnings_of({**here, "load": 9}, 50e9)[0]
    assert "OMP_NUM_THREADS=2" in warnings_of({**here, "threads": 16}, 50e9)[0]
    assert "finds none" in warnings_of({**here, "torch_build": "CUDA 12.8"}, 50e9)[0]
    assert "1.0 GB of memory" in warnings_of({**here, "free_memory_bytes": 1e9}, 50e9)[0]
    assert "1.0 GB of disk" in warnings_of(here, 1e9)[0]

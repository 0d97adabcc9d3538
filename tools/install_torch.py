"""Install torch into this environment, the CPU build where there is no NVIDIA GPU and one can be had.

Order: a build of the pinned version that the configured index serves as CPU (found by a dry run that names no CUDA
package), then PyTorch's own CPU index, then whatever the configured index has.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

PIN = "torch==2.13.0"
RANGE = "torch>=2.6,<2.14"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def pip(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    if shutil.which("nvidia-smi"):
        attempts = [["install", "--quiet", RANGE]]
    else:
        plan = pip("install", "--dry-run", "--quiet", "--report", "-", PIN)
        heavy = plan.returncode != 0 or "nvidia" in plan.stdout.lower()
        ordinary = ["install", "--quiet", PIN]
        from_cpu_index = ["install", "--quiet", "--index-url", CPU_INDEX, "--timeout", "10", "--retries", "0", RANGE]
        attempts = [from_cpu_index, ordinary, ["install", "--quiet", RANGE]] if heavy else [ordinary]
    for attempt in attempts:
        done = pip(*attempt)
        if done.returncode == 0:
            return 0
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

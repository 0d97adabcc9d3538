"""llama.cpp's own converter, for architectures whose GGUF files are not written here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from groundtune.errors import ConfigError, InputError

#: environment variable with the script's path
VARIABLE = "CONVERT_HF_TO_GGUF"
SCRIPT = "convert_hf_to_gguf.py"
#: what the script writes; q4_0 takes llama.cpp's llama-quantize on top
TYPES = ("f32", "f16", "q8_0")


def find_converter() -> Path | None:
    """The script that the environment variable names, else the one on PATH, else None.

    Raises:
        ConfigError: the variable names no file.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{VARIABLE} is {named!r}, no file", expected=f"llama.cpp's {SCRIPT}")
        return Path(named)
    found = shutil.which(SCRIPT)
    return Path(found) if found else None


def convert(source: Path, path: Path, kind: str, *, architecture: str) -> None:
    """Write a folder of full weights as GGUF with llama.cpp's script.

    Args:
        source: folder that transformers loads.
        path: the GGUF file.
        kind: ``f32``, ``f16`` or ``q8_0``.
        architecture: the model's, for the message.

    Raises:
        ConfigError: no script, or a type it does not write. InputError: it failed; with its last line.
    """
    script = find_converter()
    if script is None:
        raise ConfigError(
            f"{architecture} models cannot be written to GGUF here, and llama.cpp's {SCRIPT} is not found",
            expected="a Llama model, or the script on PATH or named by the environment variable " + VARIABLE,
            next_step=f"git clone https://github.com/ggml-org/llama.cpp and export {VARIABLE}=llama.cpp/{SCRIPT}",
        )
    if kind not in TYPES:
        raise ConfigError(
            f"{SCRIPT} does not write {kind}",
            expected=f"one of {', '.join(TYPES)}",
            next_step="choose --gguf-type f16, then llama-quantize FILE.gguf OUT.gguf " + kind,
        )
    done = subprocess.run(
        [sys.executable, str(script), str(source), "--outfile", str(path), "--outtype", kind],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not path.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(
            f"{script} failed (exit code {done.returncode}): {said[-1] if said else 'it said nothing'}",
            next_step=f"run it by hand: python {script} FOLDER --outtype {kind}",
        )

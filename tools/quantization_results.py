"""The quantization table of docs/results.md: pebble exported in every form, over the example organisation's documents.

Usage: python tools/quantization_results.py FOLDER. Keeps the project and the exports in FOLDER; what is there is not made again.
Perplexity is `groundtune export`'s, over the beginnings of the 45 documents; answers are `groundtune evaluate --system rag`'s.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import groundtune

FORMS = {
    "fp32": ["merged", "--dtype", "float32"],
    "bf16 (as shipped)": ["merged"],
    "int8": ["int8"],
    "int8, head too": ["int8", "--quantize-head"],
    "int4, groups of 128": ["int4", "--group-size", "128"],
    "int4, groups of 64": ["int4"],
    "int4, groups of 32": ["int4", "--group-size", "32"],
    "int4, groups of 64, head too": ["int4", "--quantize-head"],
    "GGUF f16": ["gguf", "--gguf-type", "f16"],
    "GGUF q8_0": ["gguf", "--gguf-type", "q8_0"],
    "GGUF q4_0": ["gguf", "--gguf-type", "q4_0"],
}


def groundtune_json(project: Path, *arguments: str | Path) -> Any:
    command = [sys.executable, "-m", "groundtune", *map(str, arguments), "--project", str(project), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def prepare(project: Path) -> None:
    if (project / ".groundtune" / "index").exists():
        return
    shutil.copytree(Path(groundtune.__file__).parent / "example", project, dirs_exist_ok=True)
    with (project / "groundtune.yaml").open("a", encoding="utf-8") as file:
        file.write(
            "\nretrieval:\n  context_sentences: 1  # what pebble takes by default, for the folders made from it, too\n"
        )
    groundtune_json(project, "ingest")
    groundtune_json(project, "index")


def row(project: Path, name: str, form: list[str]) -> list[str]:
    folder = project.parent / name.replace(" ", "-").replace(",", "")
    kept = folder / "results.json"
    if not kept.exists():
        shutil.rmtree(folder, ignore_errors=True)
        figures = groundtune_json(project, "export", "--model", "pebble", "--format", *form, "--out", folder)
        scores = None
        if figures["format"] != "gguf":
            scores = groundtune_json(project, "evaluate", "--system", "rag", "--model", folder.resolve())["scores"]
        kept.write_text(json.dumps({"figures": figures, "scores": scores}), encoding="utf-8")
    said = json.loads(kept.read_text(encoding="utf-8"))
    figures, measured, agreement = said["figures"], said["figures"]["perplexity"], said["figures"]["agreement"]
    answers = said["scores"]["all_answerable"]["token_f1"] if said["scores"] else None
    return [
        name,
        f"{figures['bytes_after'] / 1e6:.2f}",
        f"{measured['after']:.2f}",
        f"{measured['bits_per_byte_after']:.4f}",
        f"{agreement['error']:.2g}",
        f"{agreement['same_token']:.1%}",
        f"{answers['mean']:.3f} ({answers['low']:.3f} to {answers['high']:.3f})" if answers else "",
    ]


def main() -> None:
    root = Path(sys.argv[1])
    prepare(root / "project")
    rows = [row(root / "project", name, form) for name, form in FORMS.items()]
    headings = ["stored as", "MB", "perplexity", "bits a byte", "logits off by", "same token", "rag: F1"]
    for line in (headings, ["---", *["---:"] * (len(headings) - 1)], *rows):
        print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()

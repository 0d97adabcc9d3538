"""``groundtune export``: a model or a finished run as merged weights, adapter, int8, int4 or GGUF, checked after writing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    open_project,
    print_json,
    progress_bar,
    say,
    warn,
)

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup
    from groundtune.nn.export import Source
    from groundtune.workspace import Workspace

#: characters of the ingested documents that perplexity is measured on where no text is named
_SAMPLE_CHARACTERS = 20_000


def export(
    format: Annotated[str, typer.Option("--format", "-f", help="merged, adapter, int8, int4 or gguf.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New or empty folder.")],
    run: Annotated[
        str | None,
        typer.Option("--run", "-r", help="A finished run, such as lora or scratch; default: what `tune` made last."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="pebble, a folder, or a Hugging Face name.")] = None,
    gguf_type: Annotated[str, typer.Option("--gguf-type", help="q8_0, q4_0, f16 or f32.")] = "q8_0",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="float32, bfloat16 or float16: what is not quantized; default: as the source has it."
        ),
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option("--group-size", help="Inputs that share a scale; default 64 for int4, all of a row for int8."),
    ] = None,
    quantize_head: Annotated[
        bool, typer.Option("--quantize-head", help="Quantize the output head, too (int8, int4; not where it is tied).")
    ] = False,
    evaluate: Annotated[
        Path | None, typer.Option("--evaluate", help="Text to measure perplexity on; default: the ingested documents.")
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Write a model or a run in another form; say its size, its perplexity and how far its logits moved.

    merged: full weights that plain transformers loads. adapter: PEFT's files as they are. int8, int4: weight-only, for
    groundtune (--model FOLDER). gguf: one file for llama.cpp, Ollama, LM Studio.
    """
    setup = open_project(project, config)
    source = _source(setup, run, model)
    from groundtune.nn.export import Settings, check_request
    from groundtune.nn.export import export as write

    settings = Settings(format, gguf_type, dtype, group_size, head=quantize_head)
    check_request(source, out, settings)
    text = _read_text(evaluate) if evaluate else _documents_sample(setup)
    settings = replace(settings, text=text)
    with progress_bar("export") as report:
        figures = write(source, out, settings, report=report)
    measured_on = str(evaluate) if evaluate else "a sample of the ingested documents" if text else None
    if figures["perplexity"]:
        figures["perplexity"]["text"] = measured_on
    if figures.get("tokens_cut_otherwise"):
        share = figures["tokens_cut_otherwise"]
        warn(
            f"llama.cpp knows no pre-tokenizer that cuts text exactly as this model's: with {figures['pre_tokenizer']}, "
            f"{share:.2%} of the tokens of {measured_on or 'our probe'} differ, most of them where blanks stand in a row"
        )
    if json:
        print_json(figures)
    else:
        _show(figures)


def run_parts(workspace: Workspace, name: str) -> tuple[str, Path | None]:
    """Base model and adapter folder of a finished run; full weights are a base without an adapter.

    Raises:
        UnknownNameError: no such run; with those there are.
    """
    from groundtune.errors import UnknownNameError

    if name == "tuned":
        from groundtune.methods._tuning import read_last

        name = read_last(workspace) or name
    artifact = f"runs/{name.removeprefix('runs/')}"
    manifest = workspace.manifest(artifact)
    if manifest is None:
        folders = workspace.path("runs").glob("*/manifest.json")
        raise UnknownNameError("finished run", name, [f.parent.name for f in folders])
    weights = workspace.path(artifact) / "weights"
    if (weights / "adapter_config.json").exists():
        return str(manifest["figures"]["base"]), weights
    return str(weights), None


def _source(setup: Setup, run: str | None, model: str | None) -> Source:
    from groundtune.errors import ConfigError
    from groundtune.methods._tuning import read_last

    choice = "--run tuned exports what groundtune tune made, --model NAME a model as it is"
    if run is not None and model is not None:
        raise ConfigError("--run and --model are both given", next_step=choice)
    if run is None and model is None:
        run = read_last(setup.workspace)
        if run is None:
            raise ConfigError("nothing to export: no run of `groundtune tune` in this project", next_step=choice)
    parts = run_parts(setup.workspace, run) if run is not None else (setup.resolve(model or ""), None)
    if parts[0].startswith(("openai:", "echo:")):
        raise ConfigError(
            f"{parts[0]} has no weights on this machine", expected="pebble, a folder, or a Hugging Face name"
        )
    from groundtune.nn.export import Source

    return Source(*parts, name=Path(run or model or "").name)


def _read_text(path: Path) -> str:
    from groundtune.errors import InputError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", expected="a text file in UTF-8") from None


def _documents_sample(setup: Setup) -> str:
    """The beginnings of all ingested documents, equally long; nothing where nothing was ingested."""
    from groundtune.ingest.ingest import read_result, read_sections

    if setup.workspace.manifest("documents") is None:
        return ""
    documents = read_result(setup.workspace).documents
    each = _SAMPLE_CHARACTERS // max(1, len(documents))
    folder = setup.workspace.path("documents")
    return "\n\n".join("\n".join(s.text for s in read_sections(folder, d))[:each] for d in documents)


def _show(figures: dict[str, Any]) -> None:
    from rich.markup import escape

    say(f"{escape(figures['folder'])}: {figures['format']}, stored as {figures['stored_as']}")
    before, after = figures["bytes_before"], figures["bytes_after"]
    say(f"  size        {before / 1e6:.2f} MB -> {after / 1e6:.2f} MB ({after / before:.0%})")
    measured = figures["perplexity"]
    if measured:
        read = f"{measured['after']:.3f}" if measured["after"] else "not read back"
        say(
            f"  perplexity  {measured['before']:.3f} -> {read} over {measured['tokens']} tokens of "
            f"{escape(measured['text'])}, windows of {measured['window_tokens']}",
        )
    else:
        say("  perplexity  not measured: name a text with --evaluate, or ingest documents")
    agreement = figures["agreement"]
    if agreement:
        say(
            f"  logits      {agreement['error']:.2g} standard deviations off (limit {figures['limit']:g}), "
            f"the same likeliest token at {agreement['same_token']:.1%} of the places"
        )
    else:
        say("  logits      not compared: nothing here reads this architecture's GGUF")

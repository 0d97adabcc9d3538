"""``groundtune dataset cost``: what training on a file costs, hosted and on one's own machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ProjectOption, open_project, print_json, say, warn

if TYPE_CHECKING:
    from groundtune.dataset.cost import Counted
    from groundtune.methods._setup import Setup


def cost(
    file: Annotated[Path | None, typer.Argument(help="Dataset of any format; or give --tokens.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Hosted model of the price table, or the model to train here, whose tokenizer counts."
        ),
    ] = None,
    epochs: Annotated[str, typer.Option("--epochs", help="auto, as OpenAI sets them, or a number.")] = "auto",
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Tokens of one epoch, if known; nothing is counted.")
    ] = None,
    usd_per_1k_training: Annotated[
        float | None, typer.Option("--usd-per-1k-training", min=0, help="Your price for 1,000 training tokens.")
    ] = None,
    usd_per_1k_usage: Annotated[
        float | None,
        typer.Option("--usd-per-1k-usage", min=0, help="Your price for 1,000 tokens of asking the tuned model."),
    ] = None,
    usage_tokens: Annotated[
        int | None,
        typer.Option("--usage-tokens", min=0, help="Tokens you will ask with; default: as many as are trained on."),
    ] = None,
    usd_per_hour: Annotated[
        float | None,
        typer.Option("--usd-per-hour", min=0, help="Price of your machine; default: compare.usd_per_hour."),
    ] = None,
    watts: Annotated[
        float | None, typer.Option("--watts", min=0, help="Power your machine draws; goes with --usd-per-kwh.")
    ] = None,
    usd_per_kwh: Annotated[float | None, typer.Option("--usd-per-kwh", min=0, help="Price of electricity.")] = None,
    tokens_per_second: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-second", min=0.001, help="Training speed here; default: of this project's last run."
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="Format of the file; default: found from its rows.")
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Tokens x epochs x price for hosted tuning; measured time x money for this machine."""
    from groundtune.dataset import cost as sums
    from groundtune.errors import InputError

    if (file is None) == (tokens is None):
        raise InputError(
            "no file and no --tokens" if file is None else f"{file} and --tokens at once",
            expected="a dataset to count, or its number of tokens",
            next_step="groundtune dataset cost FILE",
        )
    if (watts is None) != (usd_per_kwh is None):
        raise InputError("--watts and --usd-per-kwh go together", next_step="give both")
    setup = open_project(project, config)
    hosted = sums.find_price(model) if model else None
    counter = setup.config.model if model is None or hosted else model
    counted = _count(setup, file, format, counter) if file else None
    number = _epochs(epochs, counted)
    one_epoch = tokens if tokens is not None else counted.billed_tokens if counted else 0
    trained = one_epoch * number
    result: dict[str, Any] = {
        "examples": counted.examples if counted else None,
        "tokens": one_epoch,
        "tokenizer": counter if counted else None,
        "epochs": number,
        "trained_tokens": trained,
        "hosted": _hosted(trained, model, (usd_per_1k_training, usd_per_1k_usage), usage_tokens),
        "local": _local(
            setup,
            (counted.tokens if counted else one_epoch) * number,
            counter,
            tokens_per_second,
            usd_per_hour=usd_per_hour,
            watts=watts,
            usd_per_kwh=usd_per_kwh,
        ),
    }
    if json:
        print_json(result)
    else:
        _show(result, counted)


def _count(setup: Setup, file: Path, format: str | None, model: str) -> Counted:
    from groundtune.dataset.cost import count_items
    from groundtune.dataset.files.items import read_items
    from groundtune.errors import InputError

    counted = count_items(read_items(file, format), _counter(setup, model))
    if not counted.examples:
        raise InputError(
            f"{file}: no example to train on ({counted.faulty} rows with a fault)",
            next_step=f"groundtune dataset check {file}",
        )
    if counted.faulty:
        warn(
            f"{counted.faulty} rows of {file} cannot be read and are not counted; next: groundtune dataset check {file}"
        )
    if counted.over_limit:
        warn(f"{counted.over_limit} examples are over 16,385 tokens; a hosted tuner cuts, and bills, them there")
    return counted


def _counter(setup: Setup, model: str) -> Any:
    """A function that counts a text's tokens in a model's vocabulary; only its tokenizer is loaded."""
    from groundtune.errors import InputError
    from groundtune.nn.checkpoints import open_tokenizer

    if model.startswith(("openai:", "echo:")):
        raise InputError(
            f"{model!r} has no tokenizer on this machine",
            expected="a model folder or name, or a hosted model of the price table",
            next_step="give the number with --tokens",
        )
    tokenizer, _ = open_tokenizer(setup.resolve(model))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0


def _epochs(given: str, counted: Counted | None) -> int:
    from groundtune.dataset.cost import TARGET_EPOCHS, auto_epochs
    from groundtune.errors import ConfigError

    if given == "auto":
        return auto_epochs(counted.examples) if counted else TARGET_EPOCHS
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 1000:
        raise ConfigError(f"--epochs {given!r}", expected="auto, or a number from 1 to 1000")
    return int(given)


def _hosted(
    trained: int, model: str | None, per_1k: tuple[float | None, float | None], usage_tokens: int | None
) -> list[dict[str, Any]]:
    """One row for the user's own prices or the named model; else one for every model of the table."""
    from groundtune.dataset.cost import dollars, find_price, read_prices

    asked = trained if usage_tokens is None else usage_tokens
    training, usage = per_1k
    if training is not None or usage is not None:
        return [
            {
                "model": model or "your prices",
                "date": None,
                "source": "given",
                "usd_per_million_training": (training or 0) * 1000,
                "training_usd": dollars(trained, (training or 0) * 1000),
                "usage_tokens": asked if usage is not None else 0,
                "usage_usd": None if usage is None else dollars(asked, usage * 1000),
                "usd": dollars(trained, (training or 0) * 1000) + dollars(asked, (usage or 0) * 1000),
            }
        ]
    chosen = find_price(model) if model else None
    if model and chosen is None:
        return []
    return [
        {
            "model": p.model,
            "date": p.date,
            "source": p.source,
            "note": p.note,
            "usd_per_million_training": p.training,
            "training_usd": dollars(trained, p.training),
            "usage_tokens": 0,
            "usage_usd": None,
            "usd": dollars(trained, p.training),
            "usd_per_million_input": p.input,
            "usd_per_million_output": p.output,
        }
        for p in ([chosen] if chosen else read_prices())
        if p.training is not None
    ]


def _local(
    setup: Setup,
    trained: int,
    model: str,
    tokens_per_second: float | None,
    *,
    usd_per_hour: float | None,
    watts: float | None,
    usd_per_kwh: float | None,
) -> dict[str, Any] | None:
    from groundtune.dataset.cost import find_speed, local_dollars
    from groundtune.methods._tuning import artifact, last_method
    from groundtune.nn.checkpoints import model_path

    earlier = (setup.workspace.manifest(artifact(last_method(setup))) or {}).get("figures")
    speed = find_speed(tokens_per_second=tokens_per_second, earlier=earlier, base=model_path(setup.resolve(model)))
    if speed is None:
        return None
    if usd_per_hour is None and watts is None:
        usd_per_hour = setup.config.compare.usd_per_hour
    seconds = trained / 1000 * speed.seconds_per_1k_tokens
    return {
        "seconds": round(seconds, 3),
        "seconds_per_1k_tokens": speed.seconds_per_1k_tokens,
        "speed_from": speed.source,
        "usd_per_hour": usd_per_hour,
        "watts": watts,
        "usd_per_kwh": usd_per_kwh,
        "usd": local_dollars(seconds, usd_per_hour=usd_per_hour, watts=watts, usd_per_kwh=usd_per_kwh),
    }


def _show(result: dict[str, Any], counted: Counted | None) -> None:
    how = f"{counted.examples:,} examples, counted with the tokenizer of {result['tokenizer']}" if counted else "given"
    say(f"tokens   {result['tokens']:,} ({how}) x {result['epochs']} epochs = {result['trained_tokens']:,}")
    for row in result["hosted"]:
        if row["usage_usd"] is not None:
            say(
                f"hosted   {_usd(row['training_usd'])} + {_usd(row['usage_usd'])} = {_usd(row['usd'])}   training "
                f"{result['trained_tokens']:,} tokens, usage {row['usage_tokens']:,} tokens"
            )
        else:
            dated = f", {row['date']}" if row["date"] else ""
            say(
                f"hosted   {_usd(row['usd']):>10}   {row['model']} "
                f"(${row['usd_per_million_training']:g} per million{dated})"
            )
    if any(row.get("date") for row in result["hosted"]):
        say("         prices change; dates and sources: --json. Providers count with their own tokenizer.")
    local = result["local"]
    if local is None:
        say("local    no speed measured yet: groundtune tune measures it, or give --tokens-per-second")
        return
    rate = f"${local['usd_per_hour']:g} an hour" if local["usd_per_hour"] is not None else ""
    power = f"{local['watts']:g} W at ${local['usd_per_kwh']:g} per kWh" if local["watts"] is not None else ""
    say(
        f"local    {_usd(local['usd']):>10}   {_time(local['seconds'])} "
        f"at {' and '.join(p for p in (rate, power) if p)}; "
        f"{local['seconds_per_1k_tokens']:.3g} s per 1,000 tokens ({local['speed_from']})"
    )


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.005 or amount == 0 else f"${amount:.2g}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

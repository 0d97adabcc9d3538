"""The command ``groundtune``: registers the commands and turns every fault into one message and an exit code.

Exit 0 on success, 2 for what the user can mend (one message, no traceback), 1 for a fault of ours.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import typer

from groundtune.cli import (
    ask,
    calibrate,
    chat,
    claims,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    forget,
    gate,
    index,
    ingest,
    init,
    judge,
    list_,
    optimize,
    plan,
    pretrain,
    prompts,
    red_team,
    serve,
    tune,
)
from groundtune.cli.bench import dataset as bench_dataset
from groundtune.cli.bench import index as bench_index
from groundtune.cli.bench import query as bench_query
from groundtune.cli.bench import serve as bench_serve
from groundtune.cli.bench import tune as bench_tune
from groundtune.cli.dataset import build, check, convert, cost, split, stats
from groundtune.errors import GroundtuneError

app = typer.Typer(
    name="groundtune",
    help="Get your own data into a language model, and measure which way works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("ingest")(ingest.ingest)
app.command("index")(index.index)
app.command("forget")(forget.forget)
app.command("calibrate")(calibrate.calibrate)
app.command("plan")(plan.plan)
app.command("tune")(tune.tune)
app.command("pretrain")(pretrain.pretrain)
app.command("ask")(ask.ask)
app.command("chat")(chat.chat)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("optimize")(optimize.optimize)
app.command("tune-rag", hidden=True)(optimize.optimize)
app.command("gate")(gate.gate)
app.command("judge")(judge.judge)
app.command("claims")(claims.claims)
app.command("red-team")(red_team.red_team)
app.command("export")(export.export)
app.add_typer(serve.app, name="serve")
app.command("list")(list_.list_)
app.command("prompts")(prompts.prompts)
app.command("choose-prompt")(prompts.choose_prompt)
app.command("doctor")(doctor.doctor)
datasets = typer.Typer(
    help="Questions and training examples: make, check, describe, divide, convert, price them.", no_args_is_help=True
)
datasets.command("build")(build.build)
datasets.command("check")(check.check)
datasets.command("stats")(stats.stats)
datasets.command("split")(split.split)
datasets.command("convert")(convert.convert)
datasets.command("cost")(cost.cost)
app.add_typer(datasets, name="dataset")
benches = typer.Typer(help="The project's own benchmarks.", no_args_is_help=True)
benches.command("dataset")(bench_dataset.dataset)
benches.command("index")(bench_index.index)
benches.command("query")(bench_query.query)
benches.command("tune")(bench_tune.tune)
benches.command("serve")(bench_serve.serve)
app.add_typer(benches, name="bench")

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "a file grows larger than the disk or your limit allows",
}
#: what the store, torch's and numpy's writers say when the disk is full, without its error number
_FULL = ("No space left on device", "StorageFull", "File too large", "inline_container", " requested and ")
#: what typer returns on Ctrl-C
_INTERRUPTED = 130
_STOPPED = "stopped. What was finished is kept; the same command goes on from there."
_FULL_ADVICE = "What was finished is kept.\n  next: make room, then type the same command again"


def _version(show: bool) -> None:
    if show:
        from groundtune import __version__

        typer.echo(f"groundtune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Get your own data into a language model, and measure which way works."""


def main() -> None:
    """Run the command line; never returns."""
    warnings.simplefilter("ignore", FutureWarning)  # of libraries to their callers, not to people at a terminal
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on some CPUs it wants a kernel from a hub
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = app(standalone_mode=False)
    except GroundtuneError as error:
        _complain(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except (
        BrokenPipeError,
        SystemExit,
    ):  # typer exits where the reader of our output has gone: `groundtune list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 2
    except OSError as error:
        code = _system_fault(error)
    except Exception as error:
        code = _other_fault(error)
    if code == _INTERRUPTED:
        _complain(_STOPPED)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _complain(text: str) -> None:
    sys.stderr.write(f"groundtune: {text}\n")


def _system_fault(error: OSError) -> int:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in _DISK:
        _complain(f"{where}{_DISK[error.errno]}. {_FULL_ADVICE}")
        return 2
    if isinstance(error, PermissionError):
        _complain(f"{where}no permission to read or write\n  next: check the folder's owner and rights")
        return 2
    return _other_fault(error)


def _other_fault(error: Exception) -> int:
    if any(words in str(error) for words in _FULL):
        _complain(f"{_DISK[errno.ENOSPC]}. {_FULL_ADVICE}")
        return 2
    if type(error).__name__ == "Abort":  # Ctrl-D at a prompt
        return _INTERRUPTED
    if hasattr(error, "format_message"):  # a usage error of the command line itself
        if message := error.format_message():  # empty where the help has been shown instead
            _complain(f"{message}\n  next: groundtune --help")
        return 2
    return _ours(error)


def _ours(error: BaseException) -> int:
    traceback.print_exception(error)
    _complain(f"a fault of ours: {type(error).__name__}: {error}\n  next: please report it with the lines above")
    return 1


if __name__ == "__main__":
    main()

"""Many short runs of one method over a grid of settings, their loss curves side by side.

Each point is trained as ``tune`` would train it and kept under ``sweeps/``, so that a stopped sweep goes on and a repeated
one costs nothing. Points are judged by rows that none of them trained on. A point whose loss explodes is part of the
picture: it shows why 0.1 fails where 0.01 works.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.config import TuneConfig
from groundtune.errors import ConfigError
from groundtune.methods._setup import Setup
from groundtune.methods._tuning import tune_into
from groundtune.page.curves import STYLE, Curve, curves, smoothed
from groundtune.page.document import PageSection, render_document
from groundtune.page.parts import scroll
from groundtune.page.text import esc
from groundtune.workspace import digest

#: share of the training rows that judge the points where the project has no validation rows
HELD_BACK = 0.2


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of settings and what came of it.

    Attributes:
        settings: name -> value.
        losses: (step, loss).
        validation: lowest validation loss; None where the run failed.
        seconds: of training.
        fault: why it failed, else empty.
    """

    settings: Mapping[str, Any]
    losses: tuple[tuple[int, float], ...]
    validation: float | None
    seconds: float
    fault: str = ""

    @property
    def name(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{k.rpartition('.')[2]} {v:g}" if isinstance(v, float) else f"{k.rpartition('.')[2]} {v}" for k, v in self.settings.items())  # fmt: skip


def parse_grid(texts: Sequence[str], options: Sequence[str]) -> list[dict[str, Any]]:
    """Every combination of ``name=value,value`` texts.

    Args:
        options: names of the method's own options; the other names are settings of ``tune``.

    Raises:
        ConfigError: not of that form, or an unknown name.
    """
    import yaml

    own = [n for n in TuneConfig.model_fields if n not in {"method", "options", "data", "validation", "report_to"}]
    axes: list[list[tuple[str, Any]]] = []
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise ConfigError(
                f"--sweep {text}", expected="name=value,value", next_step="--sweep learning_rate=0.1,0.01"
            )
        if name not in (*own, *options):
            raise ConfigError(
                f"--sweep {text}: unknown setting {name!r}", expected=f"one of {', '.join([*options, *own])}"
            )
        key = f"options.{name}" if name in options else name
        axes.append([(key, _number(yaml.safe_load(value))) for value in values.split(",")])
    return [dict(combination) for combination in itertools.product(*axes)]


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def sweep(
    setup: Setup, grid: Sequence[Mapping[str, Any]], *, progress: Callable[[str], Any] = lambda name: None
) -> list[Point]:
    """Train every point of a grid, best first.

    Args:
        progress: point's name -> progress of its run.

    Raises:
        ConfigError: a value that a setting cannot have.
    """
    configs = [_config(setup.config.tune, settings) for settings in grid]
    points = []
    for settings, config in zip(grid, configs, strict=True):
        name = f"sweeps/{config.method}/{digest(dict(settings))[:12]}"
        points.append(_point(setup, config, settings, name, progress))
    return sorted(points, key=lambda p: (p.validation is None, p.validation or 0.0))


def _config(base: TuneConfig, settings: Mapping[str, Any]) -> TuneConfig:
    from pydantic import ValidationError

    values = base.model_dump()
    if not base.validation and not base.validation_share:
        values["validation_share"] = HELD_BACK
    for key, value in settings.items():
        place, _, name = key.rpartition(".")
        (values["options"] if place else values)[name] = value
    try:
        return TuneConfig.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(
            f"--sweep {'.'.join(map(str, fault['loc']))}: {fault['msg']} (found {fault['input']!r})"
        ) from None


def _point(setup: Setup, config: TuneConfig, settings: Mapping[str, Any], name: str, progress: Any) -> Point:
    from groundtune.training.guards import TrainingError

    seen: list[tuple[int, float]] = []
    told = progress(Point(settings, (), None, 0).name)

    def watch(step: int, steps: int, status: Any) -> None:
        seen.append((step, status.loss))
        if told:
            told(step, steps, status)

    try:
        folder, _ = tune_into(setup, config, name, progress=watch)
    except TrainingError as fault:
        return Point(settings, tuple(seen), None, 0.0, fault.problem)
    figures = (setup.workspace.manifest(name) or {})["figures"]
    losses = tuple((int(s), float(v)) for s, v in json.loads((folder / "training.json").read_text(encoding="utf-8")))
    best = min((v["loss"] for v in figures["validations"]), default=figures["last_loss"])
    return Point(settings, losses, round(float(best), 4), figures["seconds"])


def write_page(path: Path, method: str, points: Sequence[Point]) -> None:
    """The curves side by side and the table under them."""
    best = points[0]
    lines = [
        Curve(p.name, smoothed(list(p.losses)), "failed" if p.validation is None else "best" if p is best else "")
        for p in points
    ]
    names = list(points[0].settings)
    head = "".join(f"<th scope=col>{esc(n.rpartition('.')[2])}</th>" for n in names)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{esc(p.settings[n])}</td>" for n in names)
        + f"<td>{esc(p.fault) if p.validation is None else f'{p.validation:.3f}'}</td><td>{p.seconds:.0f}</td></tr>"
        for p in points
    )
    table = scroll(
        "Settings, best first",
        f"<thead><tr>{head}<th scope=col>validation loss</th><th scope=col>seconds</th></tr></thead><tbody>{rows}</tbody>",
    )
    said = f"{best.name} did best." if best.validation is not None else "Every setting failed."
    html = render_document(
        f"{method}: {len(points)} settings",
        [
            PageSection("curves", "Curves", "Training loss, side by side", curves(lines, value="loss, nats a token")),
            PageSection("table", "Table", "Settings, best first", table),
        ],
        style=STYLE,
        top=f'<header class="top"><h1><b>groundtune</b> {esc(method)}, {len(points)} settings</h1><p class="verdict">{esc(said)}</p></header>',
        footer="",
    )
    path.write_text(html, encoding="utf-8")

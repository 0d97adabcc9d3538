"""The calibration that a project keeps: written by `groundtune calibrate`, read whenever its index is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from groundtune.config import RetrievalConfig
from groundtune.errors import ConfigError
from groundtune.retrieval.refusal import Calibration
from groundtune.workspace import Workspace, write_json

ARTIFACT, FILE = "calibration", "calibration.json"
#: settings that change no confidence
_OTHER = {"refuse_below", "context_tokens", "context_sentences", "neighbours", "parents", "where"}


def made_for(workspace: Workspace, settings: RetrievalConfig) -> dict[str, Any]:
    """What a calibration holds for: how the index was built, and how it is searched.

    Not the documents themselves: a document more does not move the scores' scale.
    """
    built = (workspace.manifest("index") or {"inputs": {}})["inputs"]
    index = {name: built.get(name) for name in ("version", "config", "embedder")}
    return {"index": index, "retrieval": settings.model_dump(exclude=_OTHER)}


def store(
    workspace: Workspace, settings: RetrievalConfig, calibration: Calibration, figures: Mapping[str, Any], questions: Sequence[str]
) -> None:  # fmt: skip
    """Keep a calibration in the workspace.

    Args:
        figures: what was measured; kept in the manifest.
        questions: ids of those it was chosen on.
    """
    inputs = {**made_for(workspace, settings), "questions": list(questions), "calibration": asdict(calibration)}

    def work(folder: Any) -> Mapping[str, Any]:
        write_json(folder / FILE, asdict(calibration))
        return figures

    workspace.make(ARTIFACT, inputs, work)


def stored(workspace: Workspace, settings: RetrievalConfig, *, must_fit: bool = True) -> Calibration | None:
    """The workspace's calibration; None where there is none.

    Args:
        must_fit: False: one for another index or other settings counts as none.

    Raises:
        ConfigError: it was made for another index or other settings, and would refuse the wrong questions.
    """
    manifest = workspace.manifest(ARTIFACT)
    if manifest is None:
        return None
    now = made_for(workspace, settings)
    then = {name: manifest["inputs"].get(name) for name in now}
    if then != now and not must_fit:
        return None
    if then != now and settings.refuse_below is None:
        changed = [k for part in now for k in _differences(then[part], now[part], part)]
        raise ConfigError(
            f"the calibration was made with other settings: {', '.join(changed)}",
            expected="the settings it was made with",
            next_step="groundtune calibrate again, or groundtune calibrate --forget",
        )
    kept = manifest["inputs"]["calibration"]
    return Calibration(tuple(kept["weights"]), kept["bias"], kept["refuse_below"])


def _differences(before: Any, after: Any, name: str) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [d for key in sorted({*before, *after}) for d in _differences(before.get(key), after.get(key), f"{name}.{key}")]  # fmt: skip
    return [] if before == after else [name]

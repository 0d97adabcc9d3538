"""What turns text into vectors, by the name in ``index.embedder``: a registered one, the tuned one, a folder, an endpoint.

Vectors of two embedders cannot be compared. So an embedder that is a folder is known by the digest of its weights: the
digest is part of the index's key (another one re-indexes), and questions are embedded by no other one than the chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

from groundtune import registry
from groundtune.config import IndexConfig
from groundtune.endpoint import PREFIX
from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.nn.encoders import Vectors
from groundtune.retrieval.encoding import FolderEmbedder
from groundtune.retrieval.endpoint_embedder import EndpointEmbedder
from groundtune.workspace import Workspace, folder_digest

#: stands for what `groundtune tune --method embedder` made
TUNED, ARTIFACT = "tuned", "runs/embedder"
#: of what an index is made of; one of another version is made anew
INDEX_VERSION = 4


class Embedder(Protocol):
    """A module of ``embedders`` or an object like one: unit vectors of a fixed length.

    ``MAX_TOKENS`` of a text are read, the two marks around it included. One that has ``embed_parts``, too
    (:class:`groundtune.retrieval.encoding.FolderEmbedder`), can give sentences' vectors with their chunk's.
    """

    NAME: str
    MAX_TOKENS: int

    @property
    def DIMENSIONS(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), DIMENSIONS)."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        ...


def encoder_folder(workspace: Workspace, name: str) -> Path | None:
    """The folder that a name stands for; None for a registered embedder and for one behind an endpoint.

    Raises:
        MissingArtifactError: ``tuned``, and nothing is. UnknownNameError, InputError: no such embedder.
    """
    if name in registry.names("embedders") or name.startswith(PREFIX):
        return None
    if name == TUNED:
        return workspace.need(ARTIFACT, next_step=f"groundtune tune --method {ARTIFACT.partition('/')[2]}") / "weights"
    folder = workspace.root / Path(name).expanduser()
    if folder.is_dir():
        return folder
    if "/" not in name or name.startswith((".", "/", "~")):
        raise UnknownNameError(
            "embedder", name, [*registry.names("embedders"), TUNED, "a folder", "a Hugging Face name", "openai:MODEL"]
        )
    return _downloaded(name)


def _downloaded(name: str) -> Path:
    """The folder of a model in the Hugging Face cache, fetched if it is not there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "vocab.txt"]))
    except Exception as error:  # of the network, of the hub, of the name: a dozen classes
        raise InputError(
            f"embedder {name!r}: no such folder, and not to be had from Hugging Face: {str(error).strip().splitlines()[0]}",
            expected="minilm, tuned, a folder, openai:MODEL, or a name in the cache or that can be fetched",
            next_step="check `index.embedder` in groundtune.yaml",
        ) from None


def identity(workspace: Workspace, name: str) -> str:
    """What tells an embedder from every other: its registered name, or the digest of its folder."""
    folder = encoder_folder(workspace, name)
    return name if folder is None else folder_digest(folder)


def open_embedder(workspace: Workspace, name: str) -> Embedder:
    """The embedder of that name; see :func:`encoder_folder` for what it raises."""
    folder = encoder_folder(workspace, name)
    if name.startswith(PREFIX):
        return _behind_endpoint(name)
    if folder is None:
        return cast(Embedder, registry.get("embedders", name))
    return _opened(name, folder, folder_digest(folder))


@lru_cache(maxsize=2)
def _opened(name: str, folder: Path, digest: str) -> Embedder:
    return FolderEmbedder(name, folder)


@lru_cache(maxsize=2)
def _behind_endpoint(name: str) -> Embedder:
    return EndpointEmbedder(name)


def embedder_of_index(workspace: Workspace, config: IndexConfig) -> Embedder:
    """The embedder that the built index was made with, which must be the config's.

    Raises:
        ConfigError: it is another one, or was trained again since, or the index is of an older groundtune.
    """
    inputs: dict[str, Any] = (workspace.manifest("index") or {"inputs": {}})["inputs"]
    if inputs.get("version", INDEX_VERSION) != INDEX_VERSION:
        raise ConfigError(
            f"the index was made by another version of groundtune (its form is {inputs['version']}, this one's {INDEX_VERSION})",
            expected="an index that this version made",
            next_step="groundtune index",
        )
    made_with = inputs.get("config", {}).get("embedder", config.embedder)
    if made_with != config.embedder:
        raise ConfigError(
            f"the index was made with the embedder {made_with!r}, index.embedder is {config.embedder!r}",
            expected="questions and documents embedded by the same one",
            next_step="groundtune index",
        )
    if inputs.get("embedder", config.embedder) != identity(workspace, config.embedder):
        raise ConfigError(
            f"the embedder {config.embedder!r} has other weights than when the index was made",
            expected="questions and documents embedded by the same one",
            next_step="groundtune index",
        )
    return open_embedder(workspace, config.embedder)

"""Shared by all tests: no network, and a tiny tokenizer and model in the place of the bundled one."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported, so it stands before everything else
if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # as many processes as cores: one thread each, theirs and that of what they start
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

CONTEXT_TOKENS = 256
pytest.register_assert_rewrite("loading")  # so that its assertions say what they saw, as those of test files do


#: folders whose files take longest: they come first, so that no worker is left alone with one of them at the end
_LONGEST = ("serving", "end_to_end", "cli", "contracts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; each file's tests stay together and in order."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in _LONGEST)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """The bundled model's kind of tokenizer with 400 entries, learnt from a few hundred words."""
    from groundtune.dataset.invented import invented_items
    from groundtune.nn.tokenizer import train_tokenizer

    texts = (item.passage for item in islice(invented_items(0), 20))
    return train_tokenizer(texts, vocabulary=400, context_tokens=CONTEXT_TOKENS)


@pytest.fixture(scope="session")
def make_tiny_model(tiny_tokenizer: Any) -> Callable[..., Any]:
    """A function that makes a fresh random Llama: two layers, width 64."""
    from groundtune.nn.architectures import Shape, new_model

    shape = Shape(layers=2, width=64, heads=2, feed_forward=128, context_tokens=CONTEXT_TOKENS)
    return lambda seed=0: new_model(shape, tiny_tokenizer, seed=seed)


@pytest.fixture(scope="session")
def tiny_model_path(
    tiny_tokenizer: Any, make_tiny_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with that model and its tokenizer, as ``model:`` takes it."""
    folder = tmp_path_factory.mktemp("tiny-model")
    make_tiny_model().save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder

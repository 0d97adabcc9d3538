"""What must hold of finished weights: they say something new, they read back as they were, with the template of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundtune.dataset.render import render_prompt, turn_end
from groundtune.errors import InputError
from groundtune.records import Message
from groundtune.workspace import digest

#: chats whose token ids belong to what a template is told apart by
_PROBES = (
    (Message("user", "How tall is the 2nd tower?"),),
    (Message("system", "Be brief."), Message("user", "Why?")),
    (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", " Who are you? ")),
)


def template_digest(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's chat template and of the ids that come of three chats.

    What is trained with one is not served with another, nor with another vocabulary.
    """
    from jinja2.exceptions import TemplateError

    chats: list[Any] = []
    for chat in _PROBES:
        try:
            chats.append(render_prompt(tokenizer, chat))
        except TemplateError as error:  # some take no system message
            chats.append(str(error))
    return digest([tokenizer.chat_template, chats])


def check_template(weights: Path, template: str) -> None:
    """See that the saved tokenizer renders chats as the one in training did.

    Raises:
        TrainingError: the template was not saved, or is another one.
    """
    from transformers import AutoTokenizer

    from groundtune.training.guards import TrainingError

    if template_digest(AutoTokenizer.from_pretrained(weights)) != template:
        raise TrainingError(
            f"{weights}: the saved tokenizer renders chats otherwise than the one in training",
            expected="the chat template and vocabulary of training",
            next_step="please report this; the checkpoints are still there",
        )


def check_changed(before: Any, after: Any) -> None:
    """See that training changed what the model says: logits (T, V) of the same rows, before and after.

    Raises:
        TrainingError: they are equal, bit for bit.
    """
    import torch

    from groundtune.training.guards import TrainingError

    if torch.equal(before, after):
        raise TrainingError(
            "training changed nothing: the model's logits are those of before",
            expected="a model that has learnt something",
            next_step="raise tune.learning_rate, or check what tune.options adapt",
        )


def stop_where_turns_end(model: Any, tokenizer: Any) -> None:
    """Let the model's generation stop where trained answers end, beside where it stopped before."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    end, settings = turn_end(tokenizer), base.generation_config
    if settings is None or end is None:
        return
    known = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    if end not in known:
        settings.eos_token_id = [*(i for i in known if i is not None), end]


def check_reload(model: Any, tokenizer: Any, base: str, weights: Path, adapter: bool) -> float:
    """The finished weights read back as an answering process reads them: logits must be those of the trained model.

    A probe of the logits stays beside the weights, and whoever loads them looks at it again. An adapter that was trained
    over a 4-bit base answers over the 16- or 32-bit one: its probe is of that.

    Returns:
        Largest difference of a logit, in standard deviations of the logits.

    Raises:
        TrainingError: they differ: an adapter not applied, a merge gone wrong, a head untied.
    """
    from groundtune.nn.checkpoints import load_model
    from groundtune.nn.probe import check_probe, save_probe
    from groundtune.training.guards import TrainingError

    quantized = is_quantized(model)
    if not quantized:
        save_probe(weights, model, tokenizer)
    try:
        loaded, _ = load_model(base, adapter=str(weights)) if adapter else load_model(str(weights))
        if quantized:
            save_probe(weights, loaded, tokenizer)
        return check_probe(loaded, weights)
    except InputError as error:
        raise TrainingError(
            f"{weights}: the weights read back are not those that were trained: {error.problem}",
            next_step="please report this; the checkpoints are still there",
        ) from None


def check_read_back(difference: float, limit: float, weights: Path, what: str) -> float:
    """The difference, if it is small enough.

    Args:
        difference: the largest, of ``what``, between the trained model and the one read back.

    Raises:
        TrainingError: it is over the limit, or no number.
    """
    from groundtune.training.guards import TrainingError

    if not difference <= limit:
        raise TrainingError(
            f"{weights}: the weights read back give other {what} than the trained model: {difference:.2g} apart",
            expected=f"at most {limit:g}",
            next_step="please report this; the checkpoints are still there",
        )
    return difference


def is_quantized(model: Any) -> bool:
    """Whether a model's base is held in 4 bits."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return bool(getattr(base, "is_loaded_in_4bit", False))

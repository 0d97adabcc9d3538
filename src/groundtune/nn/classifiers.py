"""Sequence classifiers: an encoder or a decoder with a linear head, from its folder and back.

With pooling ``cls`` (encoders) and ``last`` (decoders) they are transformers' own classes, so that every tool that
reads Hugging Face models reads ours. Mean pooling over all tokens, which is what sentence encoders were trained for,
transformers does not have for BERT: that is :class:`PooledClassifier`. Its folder says ``groundtune_pooled`` as its
model type, so that a tool that does not know it stops instead of answering with another head. ``import
groundtune.nn.classifiers`` makes it known to ``AutoModelForSequenceClassification``.

Legend: B rows, T tokens, D width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from groundtune.errors import InputError
from groundtune.nn import encoder_models as encoders
from groundtune.nn.shared_tokenizer import shared

Pooling = Literal["auto", "mean", "cls", "last"]
#: parts of the names of weights that a classifier may start without
_HEADS = ("classifier", "score", "pre_classifier", "pooler", "head.")


class PooledConfig(PreTrainedConfig):
    """Config of :class:`PooledClassifier`: ``encoder`` is the encoder's own."""

    model_type = "groundtune_pooled"
    encoder: dict[str, Any] | None = None
    classifier_dropout: float = 0.1


class PooledClassifier(PreTrainedModel):
    """An encoder, the mean of its last hidden states over all tokens that are not padding, dropout, a linear layer.

    Mean pooling as in Reimers and Gurevych (Sentence-BERT, EMNLP 2019, section 3).
    """

    config_class = PooledConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        own = dict(config.encoder or {})
        settings = AutoConfig.for_model(**own)
        settings._attn_implementation = "sdpa"
        self.encoder = AutoModel.from_config(settings)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # nothing reads it
        self.dropout = torch.nn.Dropout(config.classifier_dropout)
        self.classifier = torch.nn.Linear(settings.hidden_size, int(config.num_labels or 2))
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: torch.nn.Module) -> None:
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)

    def pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        """Mean hidden states (B, D) of ``input_ids`` (B, T) where ``attention_mask`` (B, T) is 1."""
        hidden_BTD = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **others).last_hidden_state
        weight_BT1 = attention_mask.unsqueeze(-1).to(hidden_BTD.dtype)
        mean_BD: torch.Tensor = (hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1).clamp_min(1)
        return mean_BD

    @torch.no_grad()
    def start_at_means(self, vectors_ND: torch.Tensor, labels_N: torch.Tensor, *, scale: float = 10.0) -> None:
        """Set the head so that the class with the nearest mean vector wins, before any training.

        A linear layer can say so (Snell et al., Prototypical Networks, NeurIPS 2017, section 2.4). Means are taken from the
        mean of all texts and put to length 1; a text at a class's mean gets that class a logit of about ``scale``.
        """
        centre_D = vectors_ND.mean(0)
        means_KD = torch.stack([vectors_ND[labels_N == k].mean(0) for k in range(len(self.classifier.bias))]) - centre_D
        length = (vectors_ND - centre_D).norm(dim=-1).mean()
        self.classifier.weight.copy_(torch.nn.functional.normalize(means_KD, dim=-1) * scale / length)
        self.classifier.bias.copy_(-self.classifier.weight @ centre_D)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **others: Any
    ) -> SequenceClassifierOutput:
        """Logits (B, K), and with ``labels`` (B) their mean cross-entropy."""
        inputs = {name: others[name] for name in ("token_type_ids",) if name in others}
        logits_BK = self.classifier(self.dropout(self.pooled(input_ids, attention_mask, **inputs)))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits_BK, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits_BK)


AutoConfig.register("groundtune_pooled", PooledConfig)
AutoModelForSequenceClassification.register(PooledConfig, PooledClassifier)


def default_pooling(path: str, settings: Any) -> Pooling:
    """``last`` for decoders, ``mean`` for sentence encoders, ``cls`` for other encoders."""
    if not encoders.is_encoder(settings):
        return "last"
    return "mean" if encoders.is_sentence_encoder(path) else "cls"


def new_classifier(
    path: str, labels: Sequence[str], *, pooling: Pooling = "auto", dropout: float = 0.1, seed: int = 0
) -> tuple[Any, Any]:
    """A pretrained model with a new head, in float32, and its tokenizer.

    Args:
        path: folder or Hugging Face name (:func:`groundtune.nn.checkpoints.model_path`).
        labels: names of the classes, in the order of the logits; kept in ``config.id2label``.
        pooling: which vector of the text the head reads; auto: :func:`default_pooling`.
        dropout: on that vector, where the architecture has it.
        seed: of the head's first weights.

    Raises:
        InputError: no such model, one without all of its weights, or a pooling that it cannot have.
    """
    settings = encoders.settings_of(path)
    fitting = default_pooling(path, settings) if pooling == "auto" else pooling
    if (fitting == "last") == encoders.is_encoder(settings) or getattr(settings, "is_encoder_decoder", False):
        raise InputError(
            f"tune.options.pooling: {fitting!r} does not go with {path!r} ({settings.model_type})",
            expected="mean or cls for an encoder, last for a decoder",
            next_step="leave tune.options.pooling out",
        )
    torch.manual_seed(seed)
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: n for n, name in enumerate(labels)}}
    tokenizer = encoders.encoder_tokenizer(path, settings)
    if fitting == "mean":
        return _pooled(path, names, dropout), tokenizer
    settings.update({**names, "pad_token_id": tokenizer.pad_token_id})
    if hasattr(settings, "classifier_dropout"):
        settings.classifier_dropout = dropout
    try:
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            path, config=settings, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise encoders.cannot_load(path, error) from None
    model, info = loaded
    encoders.check_loaded(path, info, may_be_new=_HEADS)
    return model, tokenizer


def _pooled(path: str, names: dict[str, Any], dropout: float) -> PooledClassifier:
    try:
        loaded: Any = AutoModel.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, KeyError) as error:
        raise encoders.cannot_load(path, error) from None
    encoder, info = loaded
    encoders.check_loaded(path, info, may_be_new=("pooler",))
    own = encoder.config.to_diff_dict()
    model = PooledClassifier(PooledConfig(encoder=own, classifier_dropout=dropout, **names))
    model.encoder.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("pooler.")})
    return model


def load_classifier(folder: Path) -> tuple[Any, Any]:
    """A finished classifier in evaluation mode and its tokenizer; ``config.id2label`` names its classes.

    Raises:
        InputError: no classifier, or one whose weights are not all there: nothing is made up.
    """
    from transformers import AutoTokenizer

    path = str(folder)
    try:
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            path, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise encoders.cannot_load(path, error) from None
    model, info = loaded
    encoders.check_loaded(path, info, may_be_new=())
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), shared(tokenizer)


def label_names(model: Any) -> list[str]:
    """Names of a classifier's classes in the order of its logits."""
    return [str(model.config.id2label[n]) for n in range(model.config.num_labels)]

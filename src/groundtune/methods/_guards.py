"""A project's guards put where they cannot be gone around: at its retriever, at its documents, and around every System it builds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from groundtune.config import GUARD_RULES, GuardConfig
from groundtune.errors import GroundtuneError, InputError
from groundtune.guardrails.guarded import Guarded
from groundtune.guardrails.passages import GuardedRetriever, PassageGuard
from groundtune.guardrails.policy import load_policy
from groundtune.ingest.ingest import read_result
from groundtune.prompt_files import prompt_names
from groundtune.system import System
from groundtune.workspace import Workspace

#: writes back the prompt that it is given: no answer to guard
SHOWS_PROMPT = "echo:{prompt}"

#: how the names of prompts begin whose replies nobody is shown
_NO_ANSWERS = ("claim_", "judge_", "next_query", "propose_", "query_")
#: share of the documents from which their language is one that passages may be in
LANGUAGE_SHARE = 0.05


def policy_of(setup: Any) -> GuardConfig:
    """The project's policy, read once.

    Raises:
        InputError, ConfigError: as :func:`groundtune.guardrails.policy.load_policy`.
    """
    kept = vars(setup)
    if "_policy" not in kept:
        kept["_policy"] = load_policy(setup.config.guards, setup.workspace.root)
    policy: GuardConfig = kept["_policy"]
    return policy


def guard_of(setup: Any) -> PassageGuard | None:
    """What looks at the project's passages; None where no rule does."""
    policy = policy_of(setup)
    kept = vars(setup)
    if (
        not any(getattr(policy, rule) for rule in GUARD_RULES if rule.startswith("retrieved_"))
        and not policy.classifiers
    ):
        return None
    if "_passage_guard" not in kept:
        kept["_passage_guard"] = PassageGuard(policy, languages_of(setup.workspace))
    guard: PassageGuard = kept["_passage_guard"]
    return guard


def guarded_retriever(setup: Any, retriever: Any) -> Any:
    """The retriever behind the project's guard; as it is where there is none, or it is behind one already."""
    guard = guard_of(setup)
    return retriever if guard is None or isinstance(retriever, GuardedRetriever) else GuardedRetriever(retriever, guard)


def guard_documents(setup: Any) -> None:
    """Put the guard at both ways by which documents reach a model: the retriever, and ``passage_filter``."""
    guard = guard_of(setup)
    if guard is not None:
        kept = vars(setup)
        kept["passage_filter"] = guard.chunks
        if "retriever" in kept:
            kept["retriever"] = guarded_retriever(setup, kept["retriever"])


def guarded(system: System, setup: Any) -> System:
    """The System behind the project's guards on questions and answers; as it is where there are none."""
    if setup.config.model == SHOWS_PROMPT:  # asked for by the user, and no model
        return system
    policy = policy_of(setup)
    looks = any(getattr(policy, rule) for rule in GUARD_RULES if not rule.startswith("retrieved_"))
    return Guarded(system, policy, nearness_of(setup), _instructions(setup)) if looks or policy.classifiers else system


def _instructions(setup: Any) -> list[str]:
    """The system turns of the prompts that answers are asked for with, in the project's wording."""
    found = []
    for name in prompt_names():
        if not name.startswith(_NO_ANSWERS):
            with suppress(InputError):  # said where that prompt is used
                found += [text for role, text in setup.prompt(name).turns if role == "system"]
    return found


def nearness_of(setup: Any) -> Callable[[str], float]:
    """Similarity of a question to the nearest sentence of the documents; 1 where there is no index to tell."""

    def nearness(question: str) -> float:
        try:
            hits = setup.retriever.retrieve(question)
        except GroundtuneError:
            return 1.0
        return max((s for hit in hits for _, s in hit.sentences), default=0.0)

    return nearness


def languages_of(workspace: Workspace) -> frozenset[str] | None:
    """The languages that at least a twentieth of the documents are in; None where that is not known."""
    if not workspace.manifest("documents"):
        return None
    counted = Counter(d.language for d in read_result(workspace).documents if d.language != "und")
    total = sum(counted.values())
    return frozenset(code for code, n in counted.items() if n >= LANGUAGE_SHARE * total) if total else None

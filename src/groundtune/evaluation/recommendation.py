"""From numbers to advice: one sentence and its reasons, or "no clear winner".

A system is recommended only when its answers on all held-out questions are better than those of every other candidate
beyond chance (Holm-corrected paired test). Where several share the top, the text says so and names the cheapest of
them as a hint, not as a winner. Controls are never recommended; the baseline is, where it wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from groundtune.evaluation.runner import ALL

CONTROLS = frozenset({"most_frequent"})
METRIC = "token_f1"
ALPHA = 0.05


def recommend(systems: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ``recommendation`` of a comparison.

    Args:
        systems: elements of ``systems``; those without a score on answerable questions are no candidates.
        pairs: elements of ``pairs`` with ``p_holm``, which must hold split ``all_answerable``, metric ``token_f1``.
    """
    candidates = [s for s in systems if s["name"] not in CONTROLS and METRIC in s["scores"].get(ALL, {})]
    if not candidates:
        return {
            "system": None,
            "text": "No clear winner: no system answered a question that has an answer.",
            "because": [],
        }
    ranked = sorted(candidates, key=lambda s: -_mean(s, ALL))
    top = [ranked[0], *(s for s in ranked[1:] if not beats(pairs, ranked[0]["name"], s["name"]))]
    because = [_quality(s) for s in ranked[: max(3, len(top))]] + _reasons(systems, ranked, pairs)
    controls = [s["name"] for s in systems if s["name"] in CONTROLS]
    if not all(beats(pairs, ranked[0]["name"], name) for name in controls):
        return {
            "system": None,
            "text": "No clear winner: no system is better, beyond chance, than always giving the most frequent answer.",
            "because": because,
        }
    if len(ranked) == 1 and not controls:
        return {
            "system": None,
            "text": f"No clear winner: {ranked[0]['name']} is compared with no other system.",
            "because": because,
        }
    if len(top) == 1:
        winner = ranked[0]["name"]
        text = f"Use {winner}: it answers your held-out questions best, beyond chance."
        return {"system": winner, "text": text, "because": because}
    divided = _best_by_split(ranked, pairs)
    if divided:
        text = f"It depends on what you ask: {divided}. Each is better there, beyond chance, than the other."
        return {"system": None, "text": text, "because": because}
    cheapest = min(top, key=lambda s: (s.get("cost_usd", 0.0), s.get("train_seconds", 0.0)))
    names = ", ".join(s["name"] for s in top)
    text = f"No clear winner among {names}: their difference could be chance. The cheapest of them per question is {cheapest['name']}."
    return {"system": None, "text": text, "because": because}


SPLITS = {
    "held_out_facts": "facts no system was trained on",
    "held_out_phrasings": "new wordings of trained facts",
}


def _best_by_split(ranked: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> str:
    """The best system of each split where two splits have two winners that beat each other there; "" otherwise."""
    if not all(METRIC in s["scores"].get(split, {}) for s in ranked for split in SPLITS):
        return ""
    best = {split: max(ranked, key=lambda s: _mean(s, split))["name"] for split in SPLITS}
    (facts, first), (phrasings, second) = best.items()
    if not (beats(pairs, first, second, facts) and beats(pairs, second, first, phrasings)):
        return ""
    return ", ".join(f"{best[split]} for {words}" for split, words in SPLITS.items())


def beats(pairs: Sequence[Mapping[str, Any]], a: str, b: str, split: str = ALL, metric: str = METRIC) -> bool:
    """True when a is better than b beyond chance."""
    for pair in pairs:
        if pair["split"] == split and pair["metric"] == metric and {pair["a"], pair["b"]} == {a, b}:
            difference = pair["difference"] if pair["a"] == a else -pair["difference"]
            return bool(difference > 0 and pair["p_holm"] < ALPHA)
    return False


def _mean(system: Mapping[str, Any], split: str, metric: str = METRIC) -> float:
    return float(system["scores"].get(split, {}).get(metric, {}).get("mean", 0.0))


def _quality(system: Mapping[str, Any]) -> str:
    score = system["scores"][ALL][METRIC]
    return (
        f"{system['name']}: token F1 {score['mean']:.2f} ({score['low']:.2f} to {score['high']:.2f}) over {score['n']} held-out questions, "
        f"{system['latency_seconds']['p50']:.2f} s a question"
    )


def _told_apart(system: Mapping[str, Any]) -> float:
    """Share of right abstentions plus share of right attempts: silence earns 1, and so does answering whatever is asked."""
    return _mean(system, "unanswerable", "abstention_accuracy") + _mean(system, ALL, "abstention_accuracy")


def _untaught(
    systems: Sequence[Mapping[str, Any]], ranked: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The trained systems that answer no kind of held-out question better, beyond chance, than what took no training."""
    names = {s["name"] for s in systems}
    trained = [str(s["name"]) for s in ranked if s.get("train_seconds")]

    def in_vain(name: str, before: str) -> bool:
        return before in names and not any(beats(pairs, name, before, split) for split in (ALL, *SPLITS))

    vain = [n for n in trained if in_vain(n, "rag" if n.endswith("+rag") else "prompt")]
    constant = [n for n in trained if n not in vain and any(in_vain(n, control) for control in CONTROLS)]
    out = []
    if vain:
        out.append(
            f"Trained in vain, no better beyond chance than the model untuned on any kind of question: {', '.join(vain)}."
        )
    if constant:
        out.append(f"No better, beyond chance, than always giving the most frequent answer: {', '.join(constant)}.")
    return out


def _reasons(
    systems: Sequence[Mapping[str, Any]], ranked: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[str]:
    out: list[str] = []
    for split, words in SPLITS.items():
        inside = sorted((s for s in ranked if METRIC in s["scores"].get(split, {})), key=lambda s: -_mean(s, split))
        if len(inside) > 1:
            first, second = inside[0], inside[1]
            sure = "beyond chance" if beats(pairs, first["name"], second["name"], split) else "which could be chance"
            out.append(
                f"On {words}: {first['name']} {_mean(first, split):.2f}, then {second['name']} {_mean(second, split):.2f}, {sure}."
            )
    baseline = next((s for s in systems if s["name"] == "baseline"), None)
    if baseline:
        beaten = [s["name"] for s in ranked if beats(pairs, "baseline", s["name"])]
        if beaten:
            out.append(
                f"The baseline, a sentence looked up without any language model, does better than {', '.join(beaten)}."
            )
        if ranked[0]["name"] == "baseline" and len(beaten) == len(ranked) - 1 > 0:
            out.append("The baseline is best of all: on these questions a language model of this size adds nothing.")
    out += _untaught(systems, ranked, pairs)
    refusing = [s for s in ranked if "abstention_accuracy" in s["scores"].get("unanswerable", {})]
    if refusing:
        best = max(refusing, key=_told_apart)
        share, kept = (_mean(best, split, "abstention_accuracy") for split in ("unanswerable", ALL))
        if _told_apart(best) < 1.1:
            out.append("No system tells the questions without an answer in the documents from the others.")
        else:
            out.append(
                f"{best['name']} tells best whether there is an answer: it says that there is none on {share:.0%} of the questions "
                f"without one, and wrongly on {1 - kept:.0%} of the others."
            )
    for system in ranked:
        if system.get("pays_off_after_questions") and not beats(pairs, "rag", system["name"]):
            out.append(
                f"{system['name']} costs less per question than rag; its training has paid off after {system['pays_off_after_questions']:,} questions."
            )
        change = system.get("adaptability")
        if change and system["name"] in {"rag", "tuned"}:
            out.append(
                f"After {change['facts']} facts changed, {system['name']} took {change['seconds']:.0f} s to update; "
                f"{change['right_after']} were then right and {change['stale_after']} still the old answer."
            )
    return out

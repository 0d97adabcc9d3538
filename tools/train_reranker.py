"""Train the bundled cross-encoder from MiniLM on mined questions (tools/mine_questions.py).

python tools/train_reranker.py work/mined.jsonl work/reranker [--minutes 50]   goes on where it was stopped
python tools/train_reranker.py work/mined.jsonl work/reranker --pack src/groundtune/retrieval/rerankers/cross_encoder.safetensors

A low-rank change (LoRA, Hu et al. 2021) of the linear layers of the upper four of six blocks, and the head. Loss: cross-entropy of the positive among
itself and three BM25 negatives (localized contrastive estimation, Gao et al., ECIR 2021). Learning rate: warm-up, then linear to zero over the minutes given. Every 250 steps and at the end the mean
reciprocal rank over 200 validation questions with up to 4 negatives each is printed; the best weights are kept.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from groundtune.nn.encoders import open_encoder
from groundtune.retrieval.embedders.minilm import model_folder
from groundtune.retrieval.rerankers._joint import JointScorer, batch

RANK, RATE, HEAD_RATE, WARM_UP = 32, 4e-4, 1e-2, 40
NEGATIVES, QUESTIONS, VALIDATED, EVERY = 3, 4, 200, 250
#: word pieces of a passage while training; longer ones are read whole when scored
PASSAGE_TOKENS = 90
LAYERS = ["query", "key", "value", "dense"]
#: of MiniLM's six layers those that change: the others need no gradient
CHANGED = [2, 3, 4, 5]


def model_with_lora() -> tuple[JointScorer, Any]:
    opened = open_encoder(model_folder())
    scorer = JointScorer(opened.model)
    config = LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules=LAYERS, layers_to_transform=CHANGED, lora_dropout=0.0, bias="none"
    )
    scorer.encoder = get_peft_model(scorer.encoder, config)
    return scorer, opened.counter


def trained(scorer: JointScorer) -> dict[str, torch.Tensor]:
    """What training changes, by name."""
    return {n: p.detach().clone() for n, p in scorer.named_parameters() if p.requires_grad}


def restore(scorer: JointScorer, weights: dict[str, torch.Tensor]) -> None:
    own = dict(scorer.named_parameters())
    for name, value in weights.items():
        own[name].data.copy_(value)


class Pieces:
    """Texts to word pieces, each once."""

    def __init__(self, counter: Any) -> None:
        self._counter, self._known = counter, {}

    def __call__(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._counter.encode(text, add_special_tokens=False).ids
        return self._known[text]


@torch.no_grad()
def validated(scorer: JointScorer, pieces: Pieces, rows: list[dict[str, Any]]) -> float:
    """Mean reciprocal rank of the positive among its negatives."""
    scorer.eval()
    total = 0.0
    for row in rows:
        texts = [row["positive"], *row["negatives"][:4]]
        scores = scorer(*batch([(pieces(row["question"]), pieces(t)) for t in texts]))
        total += 1 / (1 + int((scores[1:] >= scores[0]).sum()))
    scorer.train()
    return total / len(rows)


def train(mined: Path, folder: Path, minutes: float, seed: int, threads: int) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rows = [json.loads(line) for line in mined.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(seed)
    validation = [r for r in rows if r["part"] == "validation"]
    validation = rng.sample(validation, min(VALIDATED, len(validation)))
    rows = [r for r in rows if r["part"] == "train" and len(r["negatives"]) >= NEGATIVES]
    scorer, counter = model_with_lora()
    pieces = Pieces(counter)
    folder.mkdir(parents=True, exist_ok=True)
    last, best = folder / "last.pt", folder / "best.safetensors"
    head = [p for n, p in scorer.named_parameters() if n == "weights" or n.startswith("linear")]
    lora = [p for n, p in scorer.named_parameters() if "lora_" in n]
    optimizer = torch.optim.AdamW([{"params": lora, "lr": RATE}, {"params": head, "lr": HEAD_RATE}], weight_decay=0.01)
    step, spent, top = 0, 0.0, 0.0
    if last.exists():
        state = torch.load(last, weights_only=True)
        restore(scorer, state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, top = state["step"], state["spent"], state["top"]
    else:
        top = validated(scorer, pieces, validation)
        save_file(trained(scorer), best)
    print(f"{len(rows)} questions to train on; step {step}, MRR {top:.4f} over {len(validation)}", flush=True)
    order = random.Random(seed + 1).sample(range(len(rows)), len(rows))
    losses: list[float] = []
    began = time.monotonic() - spent
    while (spent := time.monotonic() - began) < minutes * 60:
        scale = min(1.0, (step + 1) / WARM_UP) * max(0.02, 1 - spent / (minutes * 60))
        for group, rate in zip(optimizer.param_groups, (RATE, HEAD_RATE), strict=True):
            group["lr"] = rate * scale
        taken = [rows[order[(step * QUESTIONS + n) % len(rows)]] for n in range(QUESTIONS)]
        losses.append(one_step(scorer, optimizer, pieces, taken, random.Random(step)))
        step += 1
        if step % EVERY == 0 or time.monotonic() - began >= minutes * 60:
            now = validated(scorer, pieces, validation)
            if now > top:
                top = now
                save_file(trained(scorer), best)
            state = {"weights": trained(scorer), "optimizer": optimizer.state_dict(), "step": step}
            torch.save({**state, "spent": time.monotonic() - began, "top": top}, last.with_suffix(".part"))
            last.with_suffix(".part").replace(last)
            print(f"step {step} {spent / 60:.1f} min loss {sum(losses) / len(losses):.4f} MRR {now:.4f} (best {top:.4f}) head {scorer.weights.tolist()}", flush=True)  # fmt: skip
            losses = []


def one_step(
    scorer: JointScorer, optimizer: Any, pieces: Pieces, taken: list[dict[str, Any]], rng: random.Random
) -> float:
    pairs = []
    for row in taken:
        texts = [row["positive"], *rng.sample(row["negatives"], NEGATIVES)]
        pairs += [(pieces(row["question"]), pieces(t)[:PASSAGE_TOKENS]) for t in texts]
    scores = scorer(*batch(pairs)).view(len(taken), -1)
    loss = torch.nn.functional.cross_entropy(scores, torch.zeros(len(taken), dtype=torch.long))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    optimizer.step()
    return float(loss.detach())


def pack(folder: Path, out: Path) -> None:
    """The best weights as float16, named as :mod:`groundtune.retrieval.rerankers.cross_encoder` reads them."""
    renamed = {}
    for name, value in load_file(folder / "best.safetensors").items():
        short = name.replace("encoder.base_model.model.", "").replace(".default.weight", "")
        renamed[short] = value.to(torch.float16).contiguous()
    save_file(renamed, out)
    print(f"{out}: {out.stat().st_size:,} bytes, {len(renamed)} tensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mined", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pack", type=Path)
    given = parser.parse_args()
    if given.pack:
        pack(given.folder, given.pack)
    else:
        train(given.mined, given.folder, given.minutes, given.seed, given.threads)


if __name__ == "__main__":
    main()

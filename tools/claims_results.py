"""How the thresholds of the claims rule were chosen: right verdicts on the example's training claims, by ABOUT and HELD.

``groundtune demo DIR`` (or ingest and index there) first, then ``python tools/claims_results.py DIR``. Prints the table over
the training claims only, and the figures of the chosen pair; the tested claims are ``groundtune claims``' to report.
"""

from __future__ import annotations

import sys
from pathlib import Path

from groundtune.cli._common import open_project
from groundtune.cli.claims import _search
from groundtune.evaluation import claim_rule
from groundtune.evaluation.claims import read_claims

ABOUT = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75)
HELD = (0.40, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80)


def main(folder: Path) -> None:
    """Print the table."""
    setup = open_project(folder)
    claims = [c for c in read_claims(folder / setup.config.claims.file) if c.split == "train"]
    evidence = _search(setup)([c.text for c in claims])
    readings = [claim_rule.read(c.text, found) for c, found in zip(claims, evidence, strict=True)]
    chosen = (claim_rule.ABOUT, claim_rule.HELD)

    def right(about: float, held: float) -> int:
        claim_rule.ABOUT, claim_rule.HELD = about, held
        return sum(claim_rule.verdict(r) == c.label for c, r in zip(claims, readings, strict=True))

    print(f"right of {len(claims)} training claims; rows ABOUT, columns HELD")
    print("      ", *(f"{held:5.2f}" for held in HELD))
    for about in ABOUT:
        print(f"{about:6.2f}", *(f"{right(about, held):5}" for held in HELD))
    print(f"chosen: ABOUT {chosen[0]}, HELD {chosen[1]}: {right(*chosen)} right")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

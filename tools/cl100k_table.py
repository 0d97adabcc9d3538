"""Write src/groundtune/serving/vectors/cl100k.bin.xz from a cl100k_base file of tiktoken.

tiktoken fetches that file from the network; the MIT-licensed wheel of litellm carries a copy of it:

    pip download --no-deps litellm==1.109.1
    unzip litellm-*.whl 'litellm/litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4' -d wheel
    python tools/cl100k_table.py wheel/litellm/litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4
"""

from __future__ import annotations

import base64
import hashlib
import lzma
import sys
from pathlib import Path

#: of cl100k_base.tiktoken, as tiktoken itself checks it (tiktoken_ext/openai_public.py)
SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
TARGET = Path(__file__).parent.parent / "src/groundtune/serving/vectors/cl100k.bin.xz"


def main(source: Path) -> None:
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{source} is not cl100k_base: expected SHA-256 {SHA256}")
    rows = [line.split() for line in content.splitlines()]
    assert [int(rank) for _, rank in rows] == list(range(len(rows)))
    tokens = [base64.b64decode(token) for token, _ in rows]
    TARGET.write_bytes(lzma.compress(bytes(map(len, tokens)) + b"".join(tokens), preset=9 | lzma.PRESET_EXTREME))
    print(f"{TARGET}: {len(tokens)} tokens, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

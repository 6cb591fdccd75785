"""Where all random numbers come from: seeds derived by name from the one that the user gave."""

from __future__ import annotations

import hashlib


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2**63) from named parts; any change gives an unrelated one."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # 63 bits: what torch takes as a seed

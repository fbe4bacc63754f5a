"""The server's side of digest authentication (RFC 7616, RFC 2069), which believes nothing.

`Realm` gives out challenges and checks what comes back: user, realm, URI, the response's hash, and
that no count of a nonce comes twice. It knows nothing of sockets.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field

_HASHES = {
    "MD5": hashlib.md5,
    "MD5-SESS": hashlib.md5,
    "SHA": hashlib.sha1,
    "SHA-256": hashlib.sha256,
    "SHA-512": hashlib.sha512,
}
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


@dataclass
class Realm:
    """One protected realm.

    Args:
        algorithm: as it is named in challenges; None for none.
        qop: likewise.
        uses: how often a nonce is good.
        fresh: whether each challenge has a nonce of its own, rather than the newest that is good.

    Attributes:
        refused: what was wrong with each request that was refused, None for no credentials at all.
        accepted: nonce and count of each request that was let in.
    """

    algorithm: str | None = "MD5"
    qop: str | None = "auth"
    uses: int = 1_000_000
    fresh: bool = False
    user: str = "user"
    password: str = "secret"
    refused: list[str | None] = field(default_factory=list)
    accepted: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._given = 0
        self._used: dict[str, set[str]] = {}

    def check(self, method: str, target: str, authorization: str | None) -> str | None:
        """Let a request in (None), or the challenge for it."""
        with self._lock:
            fault = self._fault(method, target, authorization)
            if fault == "":
                return None
            self.refused.append(fault)
            return self._challenge(stale=fault == "stale")

    def _challenge(self, *, stale: bool) -> str:
        nonce = f"n{self._given}"
        if self.fresh or len(self._used.get(nonce, ())) >= self.uses or nonce not in self._used:
            self._given += 1
            nonce = f"n{self._given}"
            self._used[nonce] = set()
        parts = ['realm="r e"', f'nonce="{nonce}"', 'opaque="o"']
        if self.qop is not None:
            parts.append(f'qop="{self.qop}"')
        if self.algorithm is not None:
            parts.append(f"algorithm={self.algorithm}")
        if stale:
            parts.append("stale=true")
        return "Digest " + ", ".join(parts)

    def _fault(self, method: str, target: str, authorization: str | None) -> str | None:
        """What is wrong with credentials; "" for nothing, None if there are none."""
        if authorization is None or not authorization.startswith("Digest "):
            return None
        given: dict[str, str] = defaultdict(str)
        given.update((name, a or b) for name, a, b in _PARAMETER.findall(authorization))
        if [given[name] for name in ("username", "realm", "opaque")] != [self.user, "r e", "o"]:
            return "who"
        if given["uri"] != target:
            return "uri"
        if given["nonce"] not in self._used:
            return "stale"
        if given["response"] != self._response(method, given):
            return "response"
        used = self._used[given["nonce"]]
        count = given["nc"] or str(len(used))
        if count in used:
            return "replay"
        if len(used) >= self.uses:
            return "stale"
        used.add(count)
        self.accepted.append((given["nonce"], count))
        return ""

    def _response(self, method: str, given: dict[str, str]) -> str:
        algorithm = (self.algorithm or "MD5").upper()

        def hashed(*parts: str) -> str:
            return _HASHES[algorithm](":".join(parts).encode()).hexdigest()

        secret = hashed(self.user, "r e", self.password)
        if algorithm.endswith("-SESS"):
            secret = hashed(secret, given["nonce"], given["cnonce"])
        what = hashed(method, given["uri"])
        if self.qop is None:
            return hashed(secret, given["nonce"], what)
        return hashed(secret, given["nonce"], given["nc"], given["cnonce"], "auth", what)

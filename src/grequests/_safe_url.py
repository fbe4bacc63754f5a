"""URLs, and texts with URLs in them, as they may be shown: without credentials.

What goes: user and password before the host, the fragment (which is never sent), and the values of
query keys that name a secret. What stays is for finding the request again. Knows texts only.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

#: What stands for a secret.
HIDDEN: Final = "..."

#: Parts of keys whose values nobody should read. Presigned URLs of S3 (``X-Amz-Signature``,
#: ``AWSAccessKeyId``), Google (``X-Goog-Credential``) and Azure (``sig``) are among them.
_SECRET: Final = re.compile(
    r"token|secret|passw|passphrase|pwd|signature|credential|session_?id|jwt|private"
    r"|(?:api|access|auth|app|account|license|subscription|user|functions?)[-_.]?key"
    r"|^(?:key|sig|auth|authorization|pass|pw|sid|code|hmac|otp|pin|awsaccesskeyid)$",
    re.IGNORECASE,
)
#: Scheme and slashes, however many there are, and what stands before path, query or fragment. The
#: scheme may be none: what nobody can send is shown, too.
_START: Final = re.compile(r"((?:[^/?#@\\]*:)?\s*[/\\]+)?([^/?#\\]*)")
#: What may be a host, with a port or without.
_HOST: Final = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::[0-9]*)?")
#: In texts: up to a blank, a quote or a bracket.
_USERINFO: Final = re.compile(r"(?<=[:/]/)[^\s/?#'\"<>@]*(?:@[^\s/?#'\"<>@]*)*@")
_PAIR: Final = re.compile(r"(?<=[?&;])([^\s=&;?#'\"<>()]+)=([^\s&;#'\"<>()]*)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def safe_url(url: object) -> str:
    """A URL that may be logged: without user, password, fragment and secrets of the query.

    Args:
        url: whatever stands for one; it need not be valid.

    Example:
        >>> safe_url("https://me:pw@example.org/a?page=2&api_key=123#top")
        'https://example.org/a?page=2&api_key=...'
    """
    text = url.decode("utf-8", "replace") if isinstance(url, bytes) else str(url)
    text = safe_authority(text).partition("#")[0]
    path, mark, query = text.partition("?")
    if mark:
        query = "&".join(map(_safe_pair, query.split("&")))
    return one_line(path + mark + query)


def safe_text(text: str) -> str:
    """A text, such as of an error, whose URLs may be logged; in one line.

    Example:
        >>> safe_text("Max retries exceeded with url: /a?token=123 (Caused by ...)")
        'Max retries exceeded with url: /a?token=... (Caused by ...)'
    """
    text = without_userinfo(text)
    if "=" in text:
        text = _PAIR.sub(lambda pair: _safe_pair(pair[0]), text)
    return one_line(text)


def one_line(text: str) -> str:
    """A text whose control characters cannot make it two lines, or worse (CWE-117)."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def safe_authority(text: str) -> str:
    """A URL without user and password, in whatever form; else as it was."""
    found = _START.match(text)
    assert found is not None  # it matches nothing as well
    start, authority = found[1] or "", found[2]
    after = text[found.end() :]
    _, at, host = authority.rpartition("@")
    if not at and "@" in after and not _HOST.fullmatch(authority):
        # "http://me:pass/word@host": not what a host looks like, so it is a password's beginning.
        return start + after.rpartition("@")[2]
    return start + host + after


def _safe_pair(pair: str) -> str:
    key, mark, _ = pair.partition("=")
    return f"{key}={HIDDEN}" if mark and _SECRET.search(unquote_plus(key)) else pair


def without_userinfo(text: str) -> str:
    """A text whose URLs have no user and no password; else as it was.

    Example:
        >>> without_userinfo("Failed to parse: http://me:pw@host:80x/")
        'Failed to parse: http://host:80x/'
    """
    return _USERINFO.sub("", text) if "@" in text else text

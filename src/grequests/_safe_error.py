"""Errors of input that quote what they refuse, which may be a secret: it is taken out of them.

Requests says what a header's value is if it has a line break at its end, as a token has that was
read from a file, and what a URL is that it cannot read. Types stay, and so does all else of the
text. Knows errors and texts only.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ._safe_url import HIDDEN, safe_authority, without_userinfo

#: What Requests (`InvalidHeader`) and http.client (`ValueError`) say before they quote a value.
_VALUE: Final = re.compile(r"(in header value: |^Invalid header value )b?['\"].*", re.DOTALL)
#: Of a header that is no text, name and value.
_PART: Final = re.compile(
    r"^Header part \(.*\) from \((b?'(?:[^'\\]|\\.)*'|).*\)(?= must be of type )", re.DOTALL
)
#: What Requests and urllib3 say before they quote a URL.
_URL: Final = re.compile(
    r"(?<=adapters were found for )(['\"]).*\1"
    r"|(?<=Invalid URL )(['\"]).*\2"
    r"|(?<=Failed to parse: ).*",
    re.DOTALL,
)
#: How deep errors are wrapped at most.
_DEPTH: Final = 8
#: How often a text is looked through at most.
_PASSES: Final = 5
#: "me:pw@host", or "mailto:me@host": who knows?
_NO_SLASHES: Final = re.compile(r"\A([^:/?#@\\]*:)(?!\s*[/\\]).*@", re.DOTALL)


def hide_secrets(error: BaseException) -> None:
    """Take out of an error what it quotes of a header's value, and of a URL's user and password.

    Args:
        error: any; what refuses input (`ValueError`, in Requests' tree and beside it) is looked at,
            with those that it was raised from, which a traceback shows.
    """
    each: BaseException | None = error
    for _ in range(_DEPTH):
        if each is None:
            return
        _hide(each)
        each = each.__cause__ or each.__context__


def _hide(error: BaseException) -> None:
    if isinstance(error, (UnicodeEncodeError, UnicodeDecodeError)):
        # Its text says which characters or bytes they are, and where. So does this.
        start, end = error.start, error.end
        text: Any = error.object
        star: Any = "*" if isinstance(text, str) else b"*"
        error.object = star * start + text[start:end] + star * (len(text) - end)
        error.args = (error.encoding, error.object, start, end, error.reason)
    elif isinstance(error, ValueError):
        said = tuple(_hidden(each) if isinstance(each, str) else each for each in error.args)
        if said != error.args:
            error.args = said
        location = getattr(error, "location", None)  # urllib3's LocationParseError
        if isinstance(location, str):
            error.location = without_userinfo(location)  # type: ignore[attr-defined]


def _hidden(text: str) -> str:
    """A text without secrets: what is taken out may leave something that looks like one."""
    for _ in range(_PASSES):
        said, text = text, _hidden_once(text)
        if said == text:
            break
    return text


def _hidden_once(text: str) -> str:
    text = _VALUE.sub(rf"\1{HIDDEN}", text)
    text = _PART.sub(rf"Header part ({HIDDEN}) from (\1, {HIDDEN})", text)
    if "@" in text:
        text = _URL.sub(_hidden_url, text)
    return without_userinfo(text)


def _hidden_url(found: re.Match[str]) -> str:
    quote = found[1] or found[2] or ""
    url = found[0].strip(quote) if quote else found[0]
    hidden, count = _NO_SLASHES.subn(rf"\1{HIDDEN}@", url)
    return quote + (hidden if count else safe_authority(url)) + quote

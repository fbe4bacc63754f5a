"""Names of files that come from strangers: from URLs and Content-Disposition, made safe.

Pure functions from text to text. It may not know: directories, what is in them, responses.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

#: Bytes of a name, at most. File systems take 255; `.part.json~` has to fit behind it.
LONGEST: Final = 240
#: Bytes of an extension that survives when a name is cut.
_LONGEST_EXTENSION: Final = 20
#: What is left of a name that had nothing in it.
NAMELESS: Final = "download"
#: Separators, and what Windows gives a meaning to.
_FORBIDDEN: Final = re.compile(r'[/\\<>:"|?*]')
#: They turn the direction of what is shown, so that "exe.txt" can be "txt.exe".
_TURNING: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
#: Categories of Unicode that are not to be in a name: controls, separators of lines, surrogates.
_UNSEEN: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})
#: Names that are devices on Windows, with any extension.
_DEVICE: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])\s*(\.|$)",
    re.IGNORECASE,
)
#: Ends that our own files have.
_OURS: Final = (".part", ".part.json", ".part.json~")

#: RFC 6266 section 4.1: a parameter with a token or a quoted string.
_PARAMETER: Final = re.compile(
    r""";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)""", re.ASCII
)
_ESCAPED: Final = re.compile(r"\\(.)")
#: RFC 8187 section 3.2.1. Others need not be understood.
_CHARSETS: Final = frozenset({"utf-8", "iso-8859-1"})


def safe_name(text: str) -> str:
    """A name that stays in its directory, is seen, and can be written on any system.

    Example:
        >>> safe_name("../../etc/passwd")
        '_.._etc_passwd'
        >>> safe_name("nul.txt")
        '_nul.txt'
    """
    text = unicodedata.normalize("NFC", _TURNING.sub("", text))
    text = "".join("_" if unicodedata.category(each) in _UNSEEN else each for each in text)
    text = _FORBIDDEN.sub("_", text).strip().lstrip(".").rstrip(". ").strip()
    if not text:
        return NAMELESS
    if text.startswith("-") or _DEVICE.match(text):
        text = "_" + text  # the first would be an option to `rm *`
    text = shortened(text, LONGEST)
    return text + "_" if text.casefold().endswith(_OURS) else text


def shortened(name: str, longest: int) -> str:
    """A name of at most so many bytes; its extension is kept."""
    if len(name.encode()) <= longest:
        return name
    stem, extension = _split(name)
    room = longest - len(extension.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + extension


def numbered(name: str, number: int) -> str:
    """Another name than one that is taken.

    Example:
        >>> numbered("report.pdf", 2)
        'report (2).pdf'
    """
    stem, extension = _split(name)
    mark = f" ({number}){extension}"
    return shortened(stem, LONGEST - len(mark.encode())) + mark


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem or " " in extension or len(extension.encode()) > _LONGEST_EXTENSION:
        return name, ""
    if stem.lower().endswith(".tar"):
        return stem[:-4], name[len(stem) - 4 :]
    return stem, dot + extension


def name_from_url(url: str) -> str:
    """What a URL's path ends with; its host, if the path is empty. Not yet safe.

    Example:
        >>> name_from_url("https://example.org/a/b%20c.pdf?x=1")
        'b c.pdf'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    segments = [each for each in parts.path.split("/") if each]
    return unquote(segments[-1], errors="replace") if segments else host


def name_from_disposition(value: str | None) -> str | None:
    """The file name in a Content-Disposition (RFC 6266), or None. Not yet safe.

    Args:
        value: of the header, as Requests gives it (ISO 8859-1).

    Example:
        >>> name_from_disposition("attachment; filename=x.txt; filename*=UTF-8''%e2%82%ac.txt")
        '€.txt'
    """
    if value is None:
        return None
    found: dict[str, str] = {}
    for name, text in _PARAMETER.findall(";" + value):
        found.setdefault(name.lower(), text.strip())
    name = _extended(found.get("filename*")) or _plain(found.get("filename"))
    if name is None:
        return None
    # "Recipients ... use only the last path segment" (section 4.3).
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or None


def _extended(text: str | None) -> str | None:
    """The value of `filename*`; None if it cannot be understood."""
    if text is None:
        return None
    charset, mark, rest = text.strip('"').partition("'")
    _, second, coded = rest.partition("'")
    if not (mark and second) or charset.lower() not in _CHARSETS:
        return None
    try:
        return unquote_to_bytes(coded).decode(charset) or None
    except UnicodeDecodeError:
        return None


def _plain(text: str | None) -> str | None:
    """The value of `filename`. Many servers send UTF-8 there, whatever the standard says."""
    if text is None:
        return None
    if text.startswith('"'):
        text = _ESCAPED.sub(r"\1", text[1:-1])
    try:
        return text.encode("latin-1").decode() or None
    except UnicodeError:
        return text or None

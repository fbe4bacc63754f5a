"""Types for signatures only; nothing is imported from here when the program runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http.cookiejar import CookieJar
from typing import Any, TypedDict

from requests import PreparedRequest, Session


class RequestOptions(TypedDict, total=False):
    """Keywords of `requests.request`, and those of grequests."""

    params: Any
    data: Any
    json: Any
    headers: Mapping[str, str | bytes | None] | None
    cookies: Mapping[str, str] | CookieJar | None
    files: Any
    auth: tuple[str, str] | Callable[[PreparedRequest], PreparedRequest] | None
    timeout: float | tuple[float | None, float | None] | None
    allow_redirects: bool
    proxies: Mapping[str, str] | None
    hooks: Mapping[str, Callable[..., Any] | Iterable[Callable[..., Any]]] | None
    stream: bool | None
    verify: bool | str | None
    cert: str | tuple[str, str] | None
    session: Session | None
    callback: Callable[..., Any] | None

"""Types for signatures only; nothing is imported from here when the program runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http.cookiejar import CookieJar
from random import Random
from typing import Any, TypedDict

from requests import PreparedRequest, Session

from ._adaptive import Auto
from ._addresses import AddressPolicy
from ._clock import Clock
from ._download_items import DownloadProgress
from ._policies import Circuit, Rate, Retry, Timeout
from ._proxies import ProxyPool
from ._statistics import Statistics


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
    tag: Any
    cost: float | None
    suppress_ragged_eofs: bool


class ClientOptions(TypedDict, total=False):
    """Keywords of `Client`."""

    concurrency: int | str | Auto
    per_host: int | None
    rate: Rate | float | None
    per_host_rate: Rate | float | None
    retry: Retry | int | None
    circuit: Circuit | None
    timeout: Timeout | float | tuple[float | None, float | None] | None
    max_body: int | None
    max_headers: int | None
    proxies: ProxyPool | None
    session: Session | None
    address_policy: AddressPolicy | None
    lookahead: int | None
    unread: int | None
    clock: Clock | None
    random: Random | None


class RunOptions(TypedDict, total=False):
    """Keywords of `Client.run`."""

    ordered: bool
    deadline: float | None
    progress: bool | Callable[[Statistics], Any] | None
    stream: bool
    coalesce: bool


class AllOptions(ClientOptions, RunOptions, total=False):
    """Keywords of `run`."""


class DownloadOptions(TypedDict, total=False):
    """Keywords of `Client.download`."""

    sha256: str | bool | Mapping[str, str] | None
    overwrite: bool
    resume: bool
    progress: bool | Callable[[DownloadProgress], Any] | None
    deadline: float | None

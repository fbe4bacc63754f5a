"""What the process' environment says about requests, read once per run.

Requests reads proxies, netrc and CA bundle from the environment for every request, at about 400 us
each time; a run reads them once. The answers are Requests' own functions', asked once per host.
Knows `os.environ` and requests.utils; nothing of connections.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from requests.utils import NETRC_FILES, get_environ_proxies, get_netrc_auth

_MAX_HOSTS: Final = 4096


class Environment:
    """A snapshot: proxies by host, netrc by host, CA bundle."""

    __slots__ = ("_netrc", "_proxies", "ca_bundle", "has_netrc", "has_proxies")

    def __init__(self) -> None:
        self.has_proxies = any(name != "no" for name in getproxies())
        self.has_netrc = _netrc_exists()
        #: What `verify=True` means, or None for certifi's bundle.
        self.ca_bundle: str | None = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or None
        )
        self._proxies: dict[tuple[str, str | None], dict[str, str]] = {}
        self._netrc: dict[str, tuple[str, str] | None] = {}

    def proxies(self, url: str, no_proxy: str | None) -> dict[str, str]:
        """The environment's proxies for a URL, as `requests.utils.get_environ_proxies`."""
        if not self.has_proxies:
            return {}
        key = (urlsplit(url).netloc, no_proxy)
        known = self._proxies.get(key)
        if known is None:
            if len(self._proxies) >= _MAX_HOSTS:
                self._proxies.clear()
            known = self._proxies[key] = get_environ_proxies(url, no_proxy=no_proxy)
        return known

    def netrc(self, url: str) -> tuple[str, str] | None:
        """User and password of netrc for a URL, as `requests.utils.get_netrc_auth`."""
        if not self.has_netrc:
            return None
        host = urlsplit(url).netloc
        if host not in self._netrc:
            if len(self._netrc) >= _MAX_HOSTS:
                self._netrc.clear()
            self._netrc[host] = get_netrc_auth(url)
        return self._netrc[host]


def _netrc_exists() -> bool:
    named = os.environ.get("NETRC")
    places = (named,) if named is not None else tuple(f"~/{name}" for name in NETRC_FILES)
    return any(os.path.exists(os.path.expanduser(place)) for place in places)

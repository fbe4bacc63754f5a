"""Whether the functions on a request's way are still the originals.

Mocks (responses, requests-mock), recorders (vcrpy), instrumentation (OpenTelemetry) and guards
(pytest-socket) work by replacing functions of Requests, urllib3, http.client, socket and ssl.  The
fast lane stands in for those functions, so it may be taken only while all of them are stock; the
general lane may put green sockets under urllib3 only while nobody watches the sockets.

Hence two questions. `untouched` is asked once per turn of the event loop, and `glance`, which is a
part of it, when somebody's code has run within a turn. The tables below are what plain Requests was
seen to call (`tests/hooks`), and the settings that people are known to change; classes are watched
with all they have.

It may not know: lanes, sessions, greenlets.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import socket
import ssl
from logging import DEBUG
from typing import TYPE_CHECKING

import requests
import requests.adapters
import requests.auth
import requests.cookies
import requests.models
import requests.sessions
import requests.structures
import requests.utils
import urllib3
import urllib3._collections
import urllib3.connection
import urllib3.connectionpool
import urllib3.fields
import urllib3.filepost
import urllib3.poolmanager
import urllib3.response
import urllib3.util.connection
import urllib3.util.request
import urllib3.util.response
import urllib3.util.retry
import urllib3.util.ssl_
import urllib3.util.timeout
import urllib3.util.url
import urllib3.util.wait

from ._stock_original import is_original, is_stock, original_class
from ._stock_watch import Watch, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "glance",
    "is_original",
    "is_stock",
    "original_class",
    "sockets_untouched",
    "untouched",
]

#: Green sockets stand in for these, and the code that makes and wraps them is a twin's.
_SOCKETS: tuple[Watched, ...] = (
    (socket, ("socket", "getaddrinfo", "create_connection", "SocketIO")),
    (ssl, ("SSLContext", "SSLSocket")),
    (urllib3.util.connection, ("create_connection", "_set_socket_options", "socket")),
    (urllib3.connection, ("ssl_wrap_socket", "wait_for_read")),
    (urllib3.util.ssl_, ("ssl_wrap_socket", "_ssl_wrap_socket_impl")),
    (urllib3.util.wait, ("wait_for_socket",)),
)


def _socket_classes() -> Iterable[type]:
    # SSLSocket's base is socket.socket.
    return (
        original_class(ssl, "SSLSocket"),
        original_class(ssl, "SSLContext"),
        socket.SocketIO,
    )


#: The fast lane stands in for these as well.
_REQUESTS: tuple[Watched, ...] = (
    (requests, ("Session",)),
    (
        requests.sessions,
        (
            *("Session", "HTTPAdapter", "PreparedRequest", "Request", "RequestsCookieJar"),
            *("CaseInsensitiveDict", "merge_setting", "merge_hooks", "merge_cookies"),
            *("dispatch_hook", "default_hooks", "default_headers", "cookiejar_from_dict"),
            *("extract_cookies_to_jar", "get_netrc_auth", "get_environ_proxies"),
            *("resolve_proxies", "requote_uri", "rewind_body", "to_key_val_list"),
            *("to_native_string", "get_auth_from_url", "should_bypass_proxies", "_is_prepared"),
        ),
    ),
    (
        requests.adapters,
        (
            *("PoolManager", "TimeoutSauce", "Retry", "Response", "CaseInsensitiveDict"),
            *("parse_url", "proxy_from_url", "select_proxy", "prepend_scheme_if_needed"),
            *("get_auth_from_url", "get_encoding_from_headers", "urldefragauth"),
            *("extract_cookies_to_jar", "_basic_auth_str", "_urllib3_request_context"),
            *("extract_zipped_paths", "_is_prepared", "SOCKSProxyManager"),
            *("DEFAULT_CA_BUNDLE_PATH", "DEFAULT_RETRIES"),
        ),
    ),
    (
        requests.models,
        (
            *("PreparedRequest", "CaseInsensitiveDict", "RequestField", "HTTPBasicAuth"),
            *("parse_url", "requote_uri", "to_key_val_list", "super_len", "guess_filename"),
            *("check_header_validity", "get_auth_from_url", "get_cookie_header"),
            *("cookiejar_from_dict", "_copy_cookie_jar", "default_hooks"),
            *("encode_multipart_formdata", "to_native_string", "unicode_is_ascii"),
        ),
    ),
    (
        requests.auth,
        (
            *("HTTPBasicAuth", "HTTPDigestAuth", "_basic_auth_str", "extract_cookies_to_jar"),
            *("parse_dict_header", "to_native_string"),
        ),
    ),
    (
        requests.cookies,
        (
            *("RequestsCookieJar", "MockRequest", "MockResponse", "create_cookie"),
            *("extract_cookies_to_jar", "get_cookie_header", "_copy_cookie_jar", "_is_prepared"),
        ),
    ),
    (
        requests.utils,
        (
            *("parse_url", "CaseInsensitiveDict", "unquote_unreserved", "should_bypass_proxies"),
            *("set_environ", "get_environ_proxies", "get_netrc_auth", "default_user_agent"),
            *("default_headers", "_validate_header_part", "_parse_content_type_header"),
            *("unquote_header_value", "getproxies", "proxy_bypass", "DEFAULT_CA_BUNDLE_PATH"),
        ),
    ),
    (requests.structures, ("CaseInsensitiveDict",)),
    (
        urllib3.poolmanager,
        ("RecentlyUsedContainer", "ProxyManager", "parse_url"),
    ),
    (
        urllib3.connectionpool,
        (
            *("_normalize_host", "normalize_host", "_close_pool_connections", "_encode_target"),
            *("connection_requires_http_tunnel", "is_connection_dropped", "parse_url"),
            *("set_file_position", "to_str", "log", "ConnectionPool", "RequestMethods"),
        ),
    ),
    (
        urllib3.connection,
        (
            *("HTTPHeaderDict", "assert_header_parsing", "body_to_chunks", "to_str"),
            *("_normalize_header_value", "_normalize_header_values", "create_urllib3_context"),
            *("is_ipaddress", "resolve_cert_reqs", "resolve_ssl_version", "socket"),
            *("_get_default_user_agent", "_ssl_wrap_socket_and_match_hostname"),
        ),
    ),
    (
        urllib3.response,
        (
            *("HTTPHeaderDict", "HTTPResponse", "BytesQueueBuffer", "GzipDecoder"),
            *("_get_decoder", "is_fp_closed"),
        ),
    ),
    (urllib3.util.connection, ("allowed_gai_family",)),
    (urllib3.util.ssl_, ("SSLContext",)),
    (urllib3.util.timeout, ("Timeout",)),
    (urllib3.util.request, ("to_bytes",)),
    (
        urllib3.util.url,
        (
            *("Url", "to_str", "_encode_invalid_chars", "_remove_path_dot_segments"),
            *("_normalize_host", "_idna_encode"),
        ),
    ),
    (urllib3.fields, ("format_multipart_header_param",)),
    (urllib3.filepost, ("iter_field_objects",)),
    (
        http.client,
        (
            *("_read_headers", "parse_headers", "_strip_ipv6_iface", "HTTPResponse", "socket"),
            *("_MAXHEADERS", "_MAXLINE"),
        ),
    ),
)


def _request_classes() -> Iterable[type]:
    # Bases are watched with their subclasses: http.client's HTTPConnection, BaseAdapter and so on.
    return (
        requests.sessions.Session,
        requests.adapters.HTTPAdapter,
        requests.models.Request,
        requests.models.PreparedRequest,
        requests.models.Response,
        requests.auth.HTTPBasicAuth,
        requests.auth.HTTPDigestAuth,
        requests.cookies.RequestsCookieJar,
        requests.cookies.MockRequest,
        requests.cookies.MockResponse,
        requests.structures.CaseInsensitiveDict,
        http.cookiejar.DefaultCookiePolicy,
        urllib3.poolmanager.ProxyManager,
        urllib3.connectionpool.HTTPSConnectionPool,
        urllib3.connection.HTTPSConnection,
        urllib3.response.HTTPResponse,
        urllib3.response.GzipDecoder,
        urllib3.response.DeflateDecoder,
        urllib3.response.MultiDecoder,
        urllib3.response.BytesQueueBuffer,
        urllib3._collections.HTTPHeaderDict,
        urllib3._collections.RecentlyUsedContainer,
        urllib3.fields.RequestField,
        urllib3.util.retry.Retry,
        urllib3.util.timeout.Timeout,
        http.client.HTTPResponse,
        http.client.HTTPMessage,
    )


#: What packages replace in modules when they are switched on; the rest of theirs are attributes of
#: classes. `glance` is asked for every request, and each name costs it 0.2 % of a plain one.
_CORE = frozenset(
    (
        *("requests.sessions.Session", "socket.socket", "socket.getaddrinfo", "ssl.SSLContext"),
        *("urllib3.util.ssl_.SSLContext", "urllib3.util.connection.create_connection"),
        # Where Python does not tell that a class was touched:
        *("Session.send", "Session.request", "Session.get_adapter", "HTTPAdapter.send"),
        *("HTTPConnectionPool.urlopen", "HTTPConnectionPool.ConnectionCls"),
        *("HTTPConnection.putrequest", "HTTPConnection.getresponse"),
    )
)


def _is_quiet() -> bool:
    """Whether nobody wants to read what urllib3 says of connections and answers."""
    return not urllib3.connectionpool.log.isEnabledFor(DEBUG)


_everything = Watch(
    (*_REQUESTS, *_SOCKETS),
    lambda: (*_request_classes(), *_socket_classes()),
    _CORE,
    _is_quiet,
)
_sockets = Watch(_SOCKETS, _socket_classes, also=lambda: True)

untouched: Callable[[], bool] = _everything.question
glance: Callable[[], bool] = _everything.glance
sockets_untouched: Callable[[], bool] = _sockets.question

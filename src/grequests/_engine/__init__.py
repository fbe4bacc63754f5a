"""The fast lane's engine: HTTP/1.1 in the callbacks of a gevent hub.

Imports point one way: engine -> pool -> connection -> protocol, stream (the receiving half) and
upload (the sending half); connect, tls, resolve, deadlines, limits and budget stand beside them.
Nothing here knows Requests, sessions, redirects or policies.
"""

from ._connect import ConnectTimes, connect_request
from ._engine import Engine, EngineStatistics, close_engine, current_engine
from ._exchange import Exchange
from ._failure import Failure, Phase
from ._mend import ConflictingLengths, MalformedResponse
from ._pool import Origin, OriginKey
from ._protocol import ResponseReader
from ._stream import BodyStream
from ._tls import EncryptedKeyError, TLSIdentity, identity
from ._upload import Body, Upload
from ._watchers import close_watcher

__all__ = [
    "Body",
    "BodyStream",
    "ConflictingLengths",
    "ConnectTimes",
    "EncryptedKeyError",
    "Engine",
    "EngineStatistics",
    "Exchange",
    "Failure",
    "MalformedResponse",
    "Origin",
    "OriginKey",
    "Phase",
    "ResponseReader",
    "TLSIdentity",
    "Upload",
    "close_engine",
    "close_watcher",
    "connect_request",
    "current_engine",
    "identity",
]

"""How large a response may be: looked at while more of it is to come.

Knows an exchange's numbers and a reader's; nothing of sockets. A response that is whole is nobody's
business here: it takes no more memory than it has, and whoever gets it looks at its size.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grequests._body_limit import raw_limit
from grequests._exceptions import BodyTooLargeError, HeadersTooLargeError

from ._failure import Failure, Phase

if TYPE_CHECKING:
    from ._exchange import Exchange
    from ._protocol import ResponseReader

_CODED: Final = re.compile(rb"\ncontent-encoding:", re.IGNORECASE)


def excess(exchange: Exchange, reader: ResponseReader, *, is_new: bool) -> Failure | None:
    """Why a response that is not whole is not to be read on; None if it is.

    Args:
        exchange: what it is for.
        reader: what has read it so far.
        is_new: whether its head was not there before.
    """
    max_head, limit, head = exchange.max_head, exchange.max_body, reader.head
    if max_head is not None and (is_new or head is None):
        size = reader.head_size()
        if size > max_head:
            return Failure(Phase.HEAD, HeadersTooLargeError(max_head, size), sent=True)
    if limit is None or head is None:
        return None
    size = reader.body_size()
    if is_new:
        size = max(size, reader.promised_size())
    if size <= limit or (_CODED.search(head) and size <= raw_limit(limit)):
        return None
    return Failure(Phase.BODY, BodyTooLargeError(limit), sent=True)

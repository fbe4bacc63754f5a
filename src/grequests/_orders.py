"""What each transfer of a call is to fetch, and what they share: the directory and its names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._filenames import numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._asyncrequest import AsyncRequest
    from ._client import Core
    from ._heads import HeadFlow


@dataclass
class Shared:
    """What the transfers of one call share.

    Attributes:
        core: of the client.
        flow: sends requests.
        directory: where files go.
        overwrite, resume: as of `download`.
        opener: opens files, as `os.open`.
        received: bytes so far, of all.
    """

    core: Core
    flow: HeadFlow
    directory: str
    overwrite: bool
    resume: bool
    opener: Callable[..., int]
    received: int = 0

    def __post_init__(self) -> None:
        #: Names that are taken, as file systems that ignore case see them.
        self._taken: dict[str, int] = {}

    def reserve(self, name: str) -> str:
        """The name, or a similar one if another file of this call has it."""
        taken = self._taken
        count = taken.get(name.casefold(), 0)
        free = name
        while free.casefold() in taken:
            count += 1
            free = numbered(name, count)
        if count:
            taken[name.casefold()] = count
        taken.setdefault(free.casefold(), 0)
        return free

    def reserve_instead(self, own: str, name: str) -> str:
        """The same for a file that has a name reserved, and may be called otherwise."""
        return own if name.casefold() == own.casefold() else self.reserve(name)


@dataclass(frozen=True)
class Order:
    """What one item of the input asks for.

    Attributes:
        index: its position.
        request: what is to be sent.
        name: for the file, or None; as given.
        sha256: what it has to be, in lower case; True to find out what it is; None for neither.
    """

    index: int
    request: AsyncRequest
    name: str | None
    sha256: str | bool | None

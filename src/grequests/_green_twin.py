"""Another library's function, run over other names: the same code, cooperative.

urllib3 dials with `socket.getaddrinfo` and sleeps with `time.sleep`, found among the globals of its
modules.  Those may not be touched, and a copy of the code would age.  A twin is a second function
object over the *same* code, whose globals answer a few names differently and ask the original
module for all the others each time, so that what somebody changes there
(`urllib3.util.connection.HAS_IPV6`, say) holds for the twin as well.

It may not know: which functions, which names.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Names", "twin"]


class _Globals(dict[str, Any]):
    """Own names first, then the module's, as they are now."""

    def __init__(self, module: dict[str, Any], own: dict[str, Any]) -> None:
        super().__init__(own)
        self._module = module
        self["__builtins__"] = module["__builtins__"]

    def __missing__(self, name: str) -> Any:
        return self._module[name]  # KeyError: Python goes on to the builtins


class Names:
    """A module with some of its names replaced, for a twin's globals."""

    def __init__(self, module: Any, **own: Any) -> None:
        """Answer `own` first, then what `module` has."""
        self.__dict__.update(own)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def twin(function: Callable[..., Any], **own: Any) -> Callable[..., Any]:
    """A function with the code of `function` that finds `own` in place of these globals."""
    assert isinstance(function, FunctionType)
    made = FunctionType(
        function.__code__,
        _Globals(function.__globals__, own),
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made

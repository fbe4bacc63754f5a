"""Whether a function, a class or a method is the one that its own module defines.

Somebody may have replaced it before we were imported, so what is found somewhere proves nothing.
The thing itself does: a plain function, without `__wrapped__`, whose code comes from the file of
the module that it should be in (`__module__` lies under wrapt).

It may not know: which names matter to whom.
"""

from __future__ import annotations

import contextlib
import re
import sys
from types import FunctionType, ModuleType
from typing import Any

import gevent.monkey
import gevent.queue
import gevent.socket
import gevent.ssl

__all__ = [
    "is_gevents",
    "is_original",
    "is_original_attribute",
    "is_stock",
    "is_theirs",
    "original_class",
]


def is_stock(function: object, module: Any) -> bool:
    """Whether `function` is what the file of `module` defines, and no wrapper around it."""
    return (
        type(function) is FunctionType
        and "__wrapped__" not in function.__dict__
        and function.__code__.co_filename == getattr(module, "__file__", None)
    )


def is_original(owner: Any, name: str) -> bool:
    """Whether `owner.name` is what the packages named here put there, or gevent's version of it.

    Args:
        owner: a module or a class; for a class, the inherited method counts.
        name: of a function, a class or a method.
    """
    value: Any = _found(owner, name)
    named = _ALIASES.get(name, name)
    if type(value) is FunctionType:
        value = _unmanaged(value)
        home = _home(value.__globals__.get("__name__", ""))
        if home is not None and (value.__code__.co_name == named or name in _PLATFORMS):
            return is_stock(value, home)
    elif isinstance(value, type):
        home = _home(value.__module__)
        is_named = named == value.__name__ or name in _ANY_CLASS
        if home is not None and _is_at_home(value, home):
            return is_named
        name = value.__name__ if is_named else name
    elif isinstance(value, _BUILTIN):
        # Functions of C cannot be imitated: wrappers are Python objects.
        return getattr(value, "__name__", None) == named
    return is_gevents(value, owner, name)


def is_original_attribute(cls: type, name: str, stored: Any) -> bool:
    """Whether what `cls` itself stores under a name is its own, data included.

    Data are believed, but for those that people are known to change.
    """
    if name in _DATA:
        return bool(stored in _DATA[name])
    value = stored.fget if isinstance(stored, property) else stored
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, FunctionType):
        return _is_defined_in(cls, value)
    if isinstance(value, type) or not callable(value):
        return not isinstance(value, type) or is_original(cls, name)
    # Of what can be called, patterns' methods are data.
    return isinstance(value, _BUILTIN) and isinstance(value.__self__, re.Pattern)


def _is_defined_in(cls: type, function: FunctionType) -> bool:
    """Whether a function is from the file of its class, under its own name or another."""
    function = _unmanaged(function)
    home = _home(cls.__module__)
    if not is_stock(function, home):
        return False
    return function.__qualname__.rpartition(".")[0] == cls.__qualname__


def _is_at_home(cls: type, home: ModuleType) -> bool:
    """Whether a class is what its module has under its name, or had before gevent patched it."""
    if any(_is_model_of(base, cls, home) for base in cls.__mro__[1:]):
        return False  # a subclass in disguise
    if getattr(home, cls.__name__, None) is cls:
        return True
    return home.__name__ in _GEVENTS and original_class(home, cls.__name__) is cls


def _is_model_of(base: type, cls: type, home: ModuleType) -> bool:
    """Whether a class has taken its name from a base of it that is at home there."""
    return (base.__module__, base.__name__) == (cls.__module__, cls.__name__) and any(
        is_stock(value, home) for value in vars(base).values()
    )


def _unmanaged(function: FunctionType) -> Any:
    """What stands under `contextlib.contextmanager`; any other function as it is."""
    if function.__code__.co_filename == contextlib.__file__:
        return getattr(function, "__wrapped__", function)
    return function


def is_theirs(cls: type) -> bool:
    """Whether a class belongs to the packages that are looked at here."""
    return _home(cls.__module__) is not None


def _found(owner: Any, name: str) -> Any:
    """What is stored under the name, without binding it."""
    spaces = [vars(base) for base in owner.__mro__] if isinstance(owner, type) else [vars(owner)]
    value: Any = next((space[name] for space in spaces if name in space), None)
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


_HOMES = frozenset({"requests", "urllib3", "urllib", "http", "socket", "ssl", "time", "queue"})


def _home(name: str) -> ModuleType | None:
    """The module of that name, if it is one of those whose word counts here."""
    return sys.modules.get(name) if name.partition(".")[0] in _HOMES else None


#: Names under which Requests and urllib3 know what is called otherwise at home.
_ALIASES = {
    "TimeoutSauce": "Timeout",
    "_is_prepared": "is_prepared",
    "normalize_host": "_normalize_host",
}
#: Names of what is called otherwise on each platform.
_PLATFORMS = frozenset({"getproxies", "proxy_bypass", "wait_for_socket"})
#: Names of attributes that hold a class, by whatever name.
_ANY_CLASS = frozenset(
    {"ConnectionCls", "QueueCls", "response_class", "sslsocket_class", "sslobject_class"}
)
#: What is there as a rule of those data that people change.
_DATA: dict[str, tuple[Any, ...]] = {
    "debuglevel": (0,),
    "default_socket_options": ([(6, 1, 1)],),  # TCP_NODELAY
}

#: Functions and methods of C.
_BUILTIN: tuple[type[Any], ...] = (type(len), type(str.join), type(object.__init__))


def is_gevents(value: Any, module: Any, name: str) -> bool:
    """Whether `value` is what gevent's monkey patching puts into `module`."""
    own = _GEVENTS.get(module.__name__) if isinstance(module, ModuleType) else None
    # urllib3.util.ssl_ and others have names of theirs from modules that were patched before.
    candidates = [own] if own is not None else _GEVENTS.values()
    return value is not None and any(getattr(m, name, None) is value for m in candidates)


_GEVENTS = {"socket": gevent.socket, "ssl": gevent.ssl, "time": gevent.hub, "queue": gevent.queue}


def original_class(module: Any, name: str) -> Any:
    """The class of the standard library called `name`, whoever replaced it meanwhile.

    `module.name` may be gevent's version, or a guard or mock of a test tool: the class that belongs
    there is found among its bases, among what gevent saved, or among what was built upon it.
    """
    saved = gevent.monkey.get_original(module.__name__, name)
    for candidate in (saved, getattr(module, name), gevent.monkey.get_original("ssl", "SSLSocket")):
        for base in getattr(candidate, "__mro__", ()):
            if (base.__module__, base.__name__) == (module.__name__, name):
                return base
    return saved

"""Watches names, so cheaply that it can be done for every request.

**Classes** are watched whole, through a *witness*: a subclass of them all that nobody uses. CPython
gives a class a version when an attribute of it is looked up, takes the version of a class and of
all its subclasses away when an attribute is set, and shows in `__flags__` whether there is one
(`Py_TPFLAGS_VALID_VERSION_TAG`). Nobody looks anything up on a witness, so it has lost its version
if and only if one of the watched classes, or a base of theirs, was touched since we gave it one:
one comparison of integers for 600 attributes. Where Python does not keep that flag (PyPy, CPython
from 3.14 on), attributes are compared one by one.

**Names of modules** are compared one by one, 5 ns each: from 3.11 on CPython caches such loads.

What "the original" is gets decided by `_stock_original`, and learned once. A name that was taken
before our import keeps the answer at "no" until its owner gives it back.

It may not know: which names, and why.
"""

from __future__ import annotations

import re
import sys
from abc import ABCMeta
from contextlib import suppress
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from ._stock_original import is_original, is_original_attribute, is_theirs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Watch", "Watched"]

#: A module and names in it.
Watched = tuple[Any, tuple[str, ...]]

#: Of a type: its version is valid, as Include/object.h has it.
_VALID_VERSION = 1 << 19
_UNKNOWN: Any = object()
#: Attributes that say nothing about what a class does, some of them put there by Python itself, as
#: `__slotnames__` is when an instance is copied or pickled for the first time.
_IDLE = frozenset(
    (
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__"),
        *("__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__slots__"),
        *("__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__"),
        *("__annotations_cache__", "__hash__", "__slotnames__"),
    )
)


#: `flags_of(cls)` is `cls.__flags__`, past any metaclass.
_flags_of: Callable[[type], int] = vars(type)["__flags__"].__get__


class _Quiet(ABCMeta):
    """A class that stays without its version when others look at it.

    They do so when they walk through the subclasses of something: abstract base classes when they
    are asked for instances, and whoever wants to patch "all sessions".
    """

    def __subclasscheck__(cls, _: type) -> bool:
        return False

    def __getattribute__(cls, name: str) -> Any:
        before = _flags_of(cls)
        try:
            return type.__getattribute__(cls, name)
        finally:
            if _flags_of(cls) != before:
                type.__setattr__(cls, "seen", True)  # which takes the version away again


def _witness_of(*classes: type) -> Any:
    """A class that is touched when one of these is.

    Raises:
        TypeError: no class can be a subclass of them all.
    """
    space = {"__module__": __name__, "__doc__": "Tells whether its bases are as they were."}
    return _Quiet("Witness", classes, space)


def _arm(witness: Any) -> int:
    """Give a witness its version; its flags, which change when it is touched."""
    with suppress(AttributeError):
        type.__getattribute__(witness, "whatever")
    flags = _flags_of(witness)
    return flags if flags & _VALID_VERSION else -1  # a class has only so many versions


def _flags_tell() -> bool:
    """Whether this Python shows in a class's flags that a base of it was touched."""
    base: Any = type("Base", (), {"attribute": 1})
    witness = _witness_of(base)
    armed = _arm(witness)
    base.attribute = 2
    touched = _flags_of(witness)
    # Others may look at the base meanwhile; that does not give the witness its version back.
    return bool(armed > 0 and base.attribute == 2 and touched != armed)  # noqa: PLR2004


_FLAGS_TELL = _flags_tell()


def _witnesses(classes: Iterable[type]) -> list[Any]:
    """As few witnesses as possible: two classes with memory layouts of C's need two of them."""
    made: list[Any] = []
    for cls in classes:
        for n, witness in enumerate(made):
            try:
                made[n] = _witness_of(witness, cls)
            except TypeError:
                continue
            break
        else:
            made.append(_witness_of(cls))
    return made


class Watch:
    """Names, and what each was when it was last seen to be original.

    Args:
        modules: names in modules, of functions and classes that have to be original, and of other
            things that have to stay what they are.
        classes: gives the classes, the most used ones first; called once all names are original.
        core: which of the names `glance` compares, as ``"module.name"``.
        also: what else has to hold.

    Attributes:
        question: a function; whether everything is original.
        glance: a function; whether the classes and the core names are as they were when `question`
            last said yes. If not, ask.
    """

    def __init__(
        self,
        modules: tuple[Watched, ...],
        classes: Callable[[], Iterable[type]],
        core: frozenset[str] = frozenset(),
        also: Callable[[], bool] = bool,
    ) -> None:
        self._modules = tuple(
            (module, present)
            for module, names in modules
            if (present := tuple(n for n in names if hasattr(module, n)))
        )
        self._classes = classes
        self._core = core
        self._also = also
        self._known: dict[tuple[Any, str], Any] = {}
        self._spaces: dict[type, dict[str, Any]] = {}
        self._names: set[str] = set()
        self._witnesses: list[Any] = []
        self._armed: list[int] = []
        self._foreign: Callable[[], bool] | None = None
        self._is_sound = False
        self._taken = [
            (module, name, value)
            for module, names in self._modules
            for name in names
            if not self._is_known(module, name, value := getattr(module, name))
        ]
        self.question: Callable[[], bool] = lambda: False
        self.glance: Callable[[], bool] = lambda: False
        # The classes are learned when it is first asked: that takes longer than an import should.
        self._write_out()

    # The quick comparison

    def _write_out(self) -> None:
        """Make the functions that compare everything with what it was, without a loop.

        What things are compared with are defaults of parameters, which are the fastest to load.
        """
        terms = [*self._witness_terms(), *self._module_terms(), *self._attribute_terms()]
        if not self._is_sound:
            terms.clear()  # a witness may have its version back, and has nothing to say yet
        quick = " and ".join(term.text for term in terms) or "False"
        core = " and ".join(term.text for term in terms if term.is_core) or "False"
        values = {name: value for term in terms for name, value in term.values.items()}
        values |= {"look_again": self._look_again, "also": self._also}
        _rewrite(self.question, (quick, "look_again()", "also()"), values)
        _rewrite(self.glance, (core, "False", "True"), values)

    def _witness_terms(self) -> Iterator[_Term]:
        for n, witness in enumerate(self._witnesses if _FLAGS_TELL else ()):
            values = {"flags_of": _flags_of, f"witness{n}": witness, f"flags{n}": self._armed[n]}
            yield _Term(f"flags_of(witness{n}) == flags{n}", values, n == 0)

    def _module_terms(self) -> Iterator[_Term]:
        for n, (module, names) in enumerate(self._modules):
            known = {name: self._known.get((module, name), _UNKNOWN) for name in names}
            if not _LOADS_ARE_CACHED:
                was = tuple(known.values()) if len(known) > 1 else known[names[0]]
                values = {f"get{n}": attrgetter(*names), f"module{n}": module, f"was{n}": was}
                is_core = any(f"{module.__name__}.{name}" in self._core for name in names)
                yield _Term(f"get{n}(module{n}) == was{n}", values, is_core)
                continue
            for name, value in known.items():
                values = {f"module{n}": module, f"was{n}_{name}": value}
                is_core = f"{module.__name__}.{name}" in self._core
                yield _Term(f"module{n}.{name} is was{n}_{name}", values, is_core)

    def _attribute_terms(self) -> Iterator[_Term]:
        if _FLAGS_TELL:
            return
        for n, (base, names) in enumerate(self._looked_up().items()):
            for name in names:
                values = {f"class{n}": base, f"attribute{n}_{name}": getattr(base, name, _UNKNOWN)}
                is_core = f"{base.__name__}.{name}" in self._core
                yield _Term(f"class{n}.{name} is attribute{n}_{name}", values, is_core)

    def _looked_up(self) -> dict[type, list[str]]:
        """What can be compared by looking it up: what a class does not make anew each time."""
        return {
            base: [
                name
                for name, value in space.items()
                if isinstance(value, (FunctionType, property, type, int)) and name.isidentifier()
            ]
            for base, space in self._spaces.items()
        }

    # The long one

    def _look_again(self) -> bool:
        """Compare one by one, after the quick comparison failed; learn what has become stock."""
        if self._foreign is not None and self._foreign():
            return False  # what was foreign last time still is
        self._foreign = None
        if self._is_sound:
            self._is_sound = False
            self._write_out()
        # Before anything is looked at: what is touched later takes the version away again.
        self._armed = [_arm(witness) for witness in self._witnesses]
        if not (self._modules_are_original() and self._classes_are_original()):
            return False
        self._give_back()
        self._is_sound = True
        self._write_out()
        return True

    def _modules_are_original(self) -> bool:
        for module, names in self._modules:
            for name in names:
                value = getattr(module, name, _UNKNOWN)
                if not self._is_known(module, name, value):
                    self._remember(module, name)
                    return False
        return True

    def _is_known(self, module: Any, name: str, value: Any) -> bool:
        key = (module, name)
        known = self._known.get(key, _UNKNOWN)
        if known is value and known is not _UNKNOWN:
            return True
        if value is _UNKNOWN:
            return False
        if callable(value):
            is_known = is_original(module, name)
        else:
            is_known = bool(known is _UNKNOWN or known == value)
        if is_known:
            self._known[key] = value
        return is_known

    def _classes_are_original(self) -> bool:
        if not self._spaces:
            return self._learn_classes()
        return all(self._is_same(base, was) for base, was in self._spaces.items())

    def _is_same(self, base: type, was: dict[str, Any]) -> bool:
        """Whether a class says what it said, and nothing new that another one says as well."""
        now = vars(base)
        for name in {*was, *(self._names & now.keys())}:
            value = now.get(name, _UNKNOWN)
            before = was[name] if name in was else _inherited(base, name)
            if not _is_equal(value, before):
                self._remember(base, name)
                return False
        return True

    def _learn_classes(self) -> bool:
        classes = tuple(self._classes())
        self._witnesses = self._witnesses or _witnesses(classes)
        self._armed = [_arm(witness) for witness in self._witnesses]
        bases = [base for cls in classes for base in cls.__mro__ if base is not object]
        spaces = {base: _space(base) for base in bases if is_theirs(base)}
        for base, space in spaces.items():
            for name, value in space.items():
                is_inherited = value is _inherited(base, name)
                if not (is_inherited or is_original_attribute(base, name, value)):
                    self._remember(base, name)
                    return False
        self._names = {name for base in bases for name in vars(base)} - _IDLE
        self._spaces = spaces
        return True

    def _remember(self, owner: Any, name: str) -> None:
        """Look at this first next time: it is foreign, and may remain so."""
        value = vars(owner).get(name, _UNKNOWN)
        if isinstance(value, type):
            return  # a class may become original by what happens elsewhere
        self._foreign = lambda: vars(owner).get(name, _UNKNOWN) is value

    def _give_back(self) -> None:
        """Let go of what somebody had put into a module when ours imported it by name."""
        package = __name__.partition(".")[0]
        ours = [vars(m) for n, m in list(sys.modules.items()) if n.partition(".")[0] == package]
        for module, name, foreign in self._taken:
            for space in ours:
                for key in [key for key, value in space.items() if value is foreign]:
                    space[key] = getattr(module, name)
        self._taken.clear()


class _Term(NamedTuple):
    """A comparison: its source, what the names in it mean, whether it is one of the core."""

    text: str
    values: dict[str, Any]
    is_core: bool


def _rewrite(function: Any, parts: tuple[str, str, str], values: dict[str, Any]) -> None:
    """Let a function answer whether the first expression holds, or the second, and the third."""
    names = frozenset(re.findall(r"\w+", " ".join(parts)))
    used = {name: value for name, value in values.items() if name in names}
    function.__code__ = _compiled(parts, tuple(used))
    function.__defaults__ = tuple(used.values())


@cache
def _compiled(parts: tuple[str, str, str], names: tuple[str, ...]) -> CodeType:
    same, otherwise, also = parts
    source = f"""def function({", ".join(names)}):
  try:
    same = {same}
  except AttributeError:
    same = False
  return (same or {otherwise}) and {also}
"""
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102  (of constants above)
    code: CodeType = space["function"].__code__
    return code


#: A module's attributes are loaded through a cache, in 5 ns and not in 25.
_LOADS_ARE_CACHED = sys.version_info >= (3, 11)


def _space(cls: type) -> dict[str, Any]:
    """What a class says itself; data in a copy, if they can change."""
    return {
        name: value.copy() if type(value) in (list, dict, set) else value
        for name, value in vars(cls).items()
        if name not in _IDLE
    }


def _inherited(cls: type, name: str) -> Any:
    """What a class would say if it did not say something itself."""
    spaces = (vars(base) for base in cls.__mro__[1:])
    return next((space[name] for space in spaces if name in space), _UNKNOWN)


def _is_equal(value: Any, was: Any) -> bool:
    if value is was:
        return True
    return type(value) is type(was) and not callable(value) and bool(value == was)

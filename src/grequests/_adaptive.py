"""How many requests a host can take at once: found out by trying a few more, and a few less.

Two ideas are older. TCP's: grow while it goes well, give way by a factor when it does not, once per
round trip. And that of TCP Vegas (Brakmo and Peterson, 1995) and the limiters that follow it: when
answers take longer than at a lower level, requests stand in a queue, and more of them will not be
answered any sooner. What latency would be without a queue cannot be known, though, and the least
that was seen is right until the server changes or answers vary. So the level is compared with its
neighbours, again and again: of n requests that take t seconds each, n / t are answered per second
(Little's law), and a level is higher than it should be if that is not more than at the next lower.

It may not know: requests, hosts, clocks. Time is an argument, there is no chance in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from ._checks import check_count
from ._exceptions import PolicyError

__all__ = ["AdaptiveLimit", "Auto"]

#: Steps are factors, kept as logarithms. The longest doubles, as the first ones do: a slow start.
_LONGEST: Final = math.log(2)
#: The shortest: less could not be told from chance. With noise it is longer, see `_shortest`.
_SHORTEST, _LONGEST_FOR_NOISE = 0.1, 0.4
#: By which a step grows after one that was clearly right, and shrinks after one that was not.
_LONGER, _SHORTER = 1.5, 0.5
#: Standard errors that make a difference clear, and that it takes after `_ROUNDS` to move at all.
_CLEAR, _LIKELY = 2.0, 0.7
#: The share of its gain that a doubling has to show to be believed at once.
_PROMISING: Final = 0.4
#: Answers are judged once for each round of as many as the level, of at least so many.
_ROUND: Final = 10
#: A comparison is not drawn out beyond so many rounds, or so many answers.
_ROUNDS, _ANSWERS = 16, 64
#: Periods for which a level is held between two trials at most; the first wait is for one.
_PATIENCE: Final = 4
#: Periods after which a level that was refused may be tried again.
_MEMORY: Final = 8
#: Mean latencies from a change until what ends belongs to it; half as many do for the first steps.
_SETTLING: Final = 2.0
#: A latency counts for no more than so many times the mean: one outlier is no trend.
_OUTLIER: Final = 10.0
#: Logarithm of a rise, or fall, of latency at the same level that means that something has changed,
#: and how many standard errors it has to be.
_CHANGE, _SURE = 0.25, 3.0
#: A step down is no shorter than this, a third less: a queue is told from chance, in which shorter
#: steps lose their way; and if there is none, a round or two will show it.
_RETREAT: Final = 0.4
#: Deviations of latencies count as at least this share: what seems exact may still drift. How much
#: of larger ones is remembered from round to round.
_LEAST_NOISE, _REMEMBERED = 0.05, 0.9
_INSTANT: Final = 1e-9  # seconds that an answer takes at least, as clocks go
#: The share of a level that has to be in use for anything to be learned about it.
_IN_USE: Final = 0.9
#: The share of answers that may be 429 or 503.
_OVERLOADS: Final = 0.02
#: The share of attempts that may fail otherwise: more than so many above what is usual, as much as
#: that by half, but never more than every other.
_ERRORS, _OVER_USUAL, _MOST_ERRORS = 0.05, 1.5, 0.5
#: How much of what was learned about errors is kept each time that something is added.
_KEPT: Final = 0.9
#: Levels count as apart when they differ by more than this share.
_APART: Final = 0.04
_NONE: Final = 1 << 62  # a ceiling that is none


@dataclass(frozen=True, kw_only=True)
class Auto:
    """How the level of concurrency is found, for each host by itself.

    It doubles at first, then goes by smaller steps: up while that brings more answers per second,
    down while it costs none. It falls at once when the host says 429 or 503, or when attempts fail
    that do not usually. It only grows while it is used.

    Args:
        initial: attempts under way at once to begin with.
        minimum: the fewest. It takes precedence over `initial`.
        maximum: the most, likewise.
        worth: how much of its fair share an increase has to bring: with 0.15, 10 % more requests at
            once have to be answered by 1.5 % more per second, or the level stays as it is. Less is
            more throughput, a little, and more load for the server.
        decrease: the factor by which the level falls when the host refuses or fails.

    Raises:
        PolicyError: a value makes no sense.

    Example:
        >>> grequests.Auto(maximum=100)
        Auto(initial=8, minimum=1, maximum=100, worth=0.15, decrease=0.7)
    """

    initial: int = 8
    minimum: int = 1
    maximum: int = 1000
    worth: float = 0.15
    decrease: float = 0.7

    def __post_init__(self) -> None:
        check_count("initial", self.initial)
        check_count("minimum", self.minimum)
        check_count("maximum", self.maximum, self.minimum)
        _check_share("worth", self.worth)
        _check_share("decrease", self.decrease)


def _check_share(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1:
        raise PolicyError(name, value, "a number between 0 and 1")


class _Sight(NamedTuple):
    """What was seen at a level.

    Attributes:
        level: attempts under way, on average.
        latency: seconds of attempts for each answer: the mean latency, and what failures took.
        variance: of the logarithm of that: its standard error, relative and squared.
    """

    level: float
    latency: float
    variance: float


class AdaptiveLimit:
    """The level of concurrency of one host.

    It is either at its *base*, for a number of periods, or tries a level above or below. Both are
    seen for as long as it takes to tell them apart; then the one that is better is the new base.

    Args:
        policy: what is allowed.

    Attributes:
        limit: how many attempts may be under way.

    Example:
        >>> level = AdaptiveLimit(Auto())
        >>> level.limit
        8
        >>> level.on_end(now=100.0, latency=0.1, outcome="overload", in_flight=8)
        >>> level.limit
        5
    """

    __slots__ = (
        *("limit", "_policy", "_base", "_step", "_direction", "_trial", "_waits", "_patience"),
        *("_ceiling", "_ceiling_lasts", "_good", "_mean", "_noise", "_ends", "_failed"),
        *("_changed", "_settled", "_answers", "_early", "_errors", "_overloads"),
        *("_under_way", "_total", "_square", "_judged", "_outlier"),
    )

    def __init__(self, policy: Auto) -> None:
        self._policy = policy
        self.limit = min(max(policy.initial, policy.minimum), policy.maximum)
        #: The level that others are compared with; None when it has to be seen first.
        self._base: _Sight | None = None
        self._step = _LONGEST
        #: Where the next trial goes, 1 for up and -1 for down; and the one that is under way, or 0.
        self._direction, self._trial = 1, 0
        #: Periods until the next trial, and how many there will be after one that was in vain.
        self._waits, self._patience = 0, 1
        #: A level that was refused lately, and the periods for which that is remembered.
        self._ceiling, self._ceiling_lasts = _NONE, 0
        #: The base before trouble began.
        self._good = 0.0
        #: Latency, in seconds, and its variance by its square, as they were last.
        self._mean = self._noise = 0.0
        #: Attempts and errors among them, older ones for less.
        self._ends = self._failed = 0.0
        self._changed = self._settled = -math.inf
        #: What the present period has seen; see `_begin`.
        self._answers = self._early = self._errors = self._overloads = self._under_way = 0
        self._total = self._square = 0.0
        self._judged, self._outlier = 0, math.inf
        self._begin()

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.limit} latency={self._mean:.3g}>"

    def on_end(self, now: float, latency: float, outcome: str, in_flight: int) -> None:
        """Learn from an attempt that has ended.

        Args:
            now: seconds of any clock that only grows.
            latency: seconds that it took.
            outcome: "ok", "error" (no answer), or "overload" (429 or 503).
            in_flight: how many were under way, this one included.
        """
        if outcome != "ok":
            self._on_bad(now, latency, outcome, in_flight)
            return
        if now < self._settled:
            self._early += 1
            return
        if latency > self._outlier:  # noqa: PLR1730 - `min` is a call
            latency = self._outlier
        self._answers = count = self._answers + 1
        self._total += latency
        self._square += latency * latency
        self._under_way += in_flight
        if count >= self._judged:
            self._judge(now)

    # What is seen

    def _begin(self) -> None:
        """See anew from here."""
        self._answers = self._early = self._errors = self._overloads = 0
        self._total = self._square = 0.0
        self._under_way = 0
        self._judged = max(self.limit, _ROUND)
        self._outlier = self._mean * _OUTLIER or math.inf

    def _go_to(self, now: float, level: float) -> None:
        self.limit = int(min(max(level, self._policy.minimum), self._policy.maximum))
        self._changed = now
        settling = _SETTLING / 2 if self._step >= _LONGEST else _SETTLING
        self._settled = now + settling * self._mean
        self._begin()

    def _look(self) -> _Sight:
        count = self._answers
        self._mean = mean = max(self._total / count, _INSTANT)
        noise = max(self._square / count / (mean * mean) - 1, _LEAST_NOISE**2)
        # Few latencies that happen to be short happen to be alike as well.
        self._noise = max(noise, self._noise * _REMEMBERED + noise * (1 - _REMEMBERED))
        return _Sight(self._under_way / count, mean, self._noise / count)

    def _is_drawn_out(self) -> bool:
        return self._answers >= max(_ROUNDS * self.limit, _ANSWERS)

    def _is_exact(self, sight: _Sight) -> bool:
        """Whether a sight will do to compare others with."""
        step = max(self._step, math.log1p(1 / self.limit))
        return sight.variance <= (step / 4) ** 2 or self._is_drawn_out()

    def _shortest(self) -> float:
        """The shortest step worth while: one that `_ROUNDS` rounds can tell from chance, nearly."""
        for_noise = math.sqrt(0.8 * self._noise / self.limit)
        return max(_SHORTEST, min(for_noise, _LONGEST_FOR_NOISE))

    # What follows from answers

    def _judge(self, now: float) -> None:
        self._judged = self._answers + max(self.limit, _ROUND)
        sight, base = self._look(), self._base
        if sight.level * _IN_USE > self.limit:
            self._begin()  # too many are under way from before
            return
        if base is None:
            self._find_base(now, sight)
        elif self._trial * (sight.level - base.level) > _APART * base.level:
            self._compare(now, base, sight)
        else:
            self._stay(now, base, sight)

    def _find_base(self, now: float, sight: _Sight) -> None:
        good, self._good = self._good, 0.0
        if self.limit < good / 2:
            # Trouble is over: no need to find all the way again.
            self._ceiling = _NONE
            self._step = _LONGEST
            self._go_to(now, good / 2)
        elif self._changed == -math.inf:
            self._go_to(now, self.limit)  # the first answers to come are the quickest, not the mean
        elif self._is_exact(sight):
            self._base = sight
            self._end_period()
            self._try(now, sight)

    def _stay(self, now: float, base: _Sight, sight: _Sight) -> None:
        """At the base, or not even that much is used."""
        rise = math.log(sight.latency / base.latency)
        error = math.sqrt(sight.variance + base.variance)
        is_comparable = abs(sight.level - base.level) <= 3 * _APART * base.level
        if is_comparable and abs(rise) > max(_CHANGE, _SURE * error):
            self._on_change(now, sight, rise)
        elif self._is_exact(sight):
            self._base, self._trial = sight, 0
            self._end_period()
            self._waits -= 1
            if self._waits <= 0 and sight.level >= _IN_USE * self.limit:
                self._try(now, sight)
            else:
                self._begin()

    def _on_change(self, now: float, sight: _Sight, rise: float) -> None:
        """Latency is not what it was at the same level: find out at once what that means."""
        self._base, self._patience = sight, 1
        self._direction = -1 if rise > 0 else 1
        self._end_period()
        self._try(now, sight)

    def _compare(self, now: float, base: _Sight, sight: _Sight) -> None:
        """See whether a level above brings enough, or one below costs little."""
        distance = math.log(sight.level / base.level)
        slope = math.log(sight.latency / base.latency) / distance
        error = math.sqrt(sight.variance + base.variance) / abs(distance)
        # Where latency grows as the level does, throughput stays: the slope is 1.
        gain = (1 - self._policy.worth - slope) * self._trial
        is_clear = abs(gain) >= _CLEAR * error or (self._step >= _LONGEST and gain > _PROMISING)
        if not is_clear and not self._is_drawn_out():
            return
        self._end_period()
        if gain > _LIKELY * error:
            self._base, self._patience = sight, 1
            self._direction = self._trial
            self._step = min(self._step * _LONGER, _LONGEST)
            self._try(now, sight)
        else:
            self._direction = -self._trial
            self._return(now, base)

    def _return(self, now: float, base: _Sight) -> None:
        """From a trial that was in vain."""
        self._step = max(self._step * _SHORTER, self._shortest())
        self._waits = self._patience
        self._patience = min(self._patience * 2, _PATIENCE)
        self._trial = 0
        self._go_to(now, round(base.level))

    def _try(self, now: float, sight: _Sight) -> None:
        """Go to the next level in the direction that is due, if there is one."""
        level = min(self.limit, round(sight.level))
        if self._direction < 0:
            aim = self._below(level)
        else:
            aim = self._above(level) if sight.level >= _IN_USE * self.limit else level
        if aim == level:
            self._direction, self._trial = -self._direction, 0
            self._waits = self._patience
            self._begin()
        else:
            self._trial = self._direction
            self._go_to(now, aim)

    def _above(self, level: int) -> int:
        aim = max(level + 1, round(level * math.exp(self._step)))
        return max(level, min(aim, self._ceiling - 1, self._policy.maximum))

    def _below(self, level: int) -> int:
        aim = min(level - 1, round(level * math.exp(-max(self._step, _RETREAT))))
        return min(level, max(aim, self._policy.minimum))

    def _end_period(self) -> None:
        self._learn_errors()
        if self._ceiling_lasts:
            self._ceiling_lasts -= 1
        else:
            self._ceiling = _NONE

    # What follows from failures

    def _on_bad(self, now: float, latency: float, outcome: str, in_flight: int) -> None:
        if now - latency < self._changed:
            return  # it was started at another level, which has been given up
        if now >= self._settled:
            wasted = min(latency, self._outlier)
            self._total += wasted
            self._square += wasted * wasted
        seen = max(self._ended() + 1, self.limit)  # no fewer than a round
        if outcome == "overload":
            self._overloads += 1
            is_too_much = self._overloads > _OVERLOADS * seen
        else:
            self._errors += 1
            usual = self._failed / self._ends if self._ends > _ROUND else 0.0
            expected = min(_ERRORS + _OVER_USUAL * usual, _MOST_ERRORS) * seen
            is_too_much = self._errors > 1 + expected + _CLEAR * math.sqrt(expected)
        if is_too_much:
            self._give_way(now, min(self.limit, in_flight))

    def _ended(self) -> int:
        return self._answers + self._early + self._errors + self._overloads

    def _learn_errors(self) -> None:
        self._ends = self._ends * _KEPT + self._ended()
        self._failed = self._failed * _KEPT + self._errors

    def _give_way(self, now: float, level: int) -> None:
        self._learn_errors()
        self._ceiling, self._ceiling_lasts = level, _MEMORY
        base, self._direction = self._base, 1
        if base is not None and self._trial > 0:
            self._return(now, base)
            return
        if base is not None or not self._good:
            self._good = base.level if base is not None else level
        self._base, self._trial = None, 0
        self._step = max(self._step * _SHORTER, self._shortest())
        self._go_to(now, level * self._policy.decrease)


Auto.__module__ = "grequests"

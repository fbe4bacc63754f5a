"""What state machines have in common."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

#: More examples, drawn anew each time: GREQUESTS_EXAMPLES=2000 pytest tests/properties
MORE = os.environ.get("GREQUESTS_EXAMPLES")

#: Which of those that there are (see `pick`).
ANY = st.integers(0, 11)


def pick(things: Any, which: int) -> Any:
    """One of them, whatever their number."""
    return things[which % len(things)]


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    """Run a machine, the same way each time unless more is asked for."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples if MORE is None else int(MORE),
            stateful_step_count=40,
            derandomize=MORE is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

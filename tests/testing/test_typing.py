"""The types are what users need: mypy --strict reads what they write, right and wrong."""

from __future__ import annotations

import re
from pathlib import Path

from test_typing import mypy

USAGE = Path(__file__).with_name("typing_usage.py")

WRONG = {
    "FakeTransport().add()": "call-arg|Missing positional",
    "FakeTransport().add('*', colour='blue')": "Unexpected keyword",
    "FakeTransport().add('*', status='404')": "arg-type|typeddict-item",
    "FakeTransport().add('*', answer=lambda request: 404)": "arg-type|return-value",
    "FakeTransport(5)": "arg-type",
    "FakeClock(5)": "arg-type|Too many positional",
    "FakeClock().call_later('soon', print)": "arg-type",
}


def test_what_users_write_is_typed_and_what_they_write_wrongly_is_found(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from grequests.testing import FakeClock, FakeTransport\n\n" + "\n".join(WRONG) + "\n"
    )

    lines = mypy(tmp_path, USAGE, wrong).splitlines()

    assert [line for line in lines if "typing_usage" in line] == []
    found = {
        int(match[1]): match[2]
        for match in (re.match(r".*wrong\.py:(\d+): (error: .*)", each) for each in lines)
        if match
    }
    assert sorted(found) == list(range(3, 3 + len(WRONG))), lines
    for (_, pattern), error in zip(WRONG.items(), found.values(), strict=True):
        assert re.search(pattern, error), error

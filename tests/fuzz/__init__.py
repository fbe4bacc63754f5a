"""Fuzzing: what no example thought of, guided by coverage.

Four targets, each a module with ``check(data: bytes) -> None``, which raises if something is wrong,
and a ``KIT``, which has seeds and makes inputs of its format:

* `protocol`: the reader of responses, over every way in which a stream may be cut;
* `against_h11`: the same reader and h11, over the same stream;
* `against_requests`: what goes on the wire, and what Requests would have written;
* `cookies_and_redirects`: chains of responses, in both lanes, over a `FakeTransport`.

To run them (from the top folder; atheris is put into an environment of its own, `.suites/fuzz`)::

    make fuzz                  # an hour in all
    make fuzz MINUTES=10
    make fuzz-short            # a minute or two in all, the same inputs each time
    PYTHONPATH=tests .suites/fuzz/bin/python -m fuzz run --minutes 5 protocol

Corpora grow in `.suites/fuzz/corpus`; after a long run they are reduced to what adds coverage. They
begin with the seeds in the code: nothing of them is kept in the repository.

A finding ends a target, and the whole with an exit code other than 0. Its input is in
`.suites/fuzz/findings`; the path is printed with a command that replays it, without atheris::

    PYTHONPATH=tests .venv/bin/python -m fuzz replay protocol .suites/fuzz/findings/protocol-...

Make it small (``-minimize_crash=1`` of libFuzzer, or by hand), put it into `test_findings`, then fix
what it shows. What is not to be fixed, because the two sides may differ there, gets a name and a
reason in the tables of the target, as narrow as it can be.

A check knows nothing of atheris. `test_targets` runs each over its seeds and some thousand inputs
that its kit makes from fixed numbers, in seconds; `test_findings` replays what was found.

The parser under the reader (llhttp) is C and gives no coverage: there, what leads into depth is the
grammar of `responses`, and h11, whose branches guide `against_h11` over inputs of the same format.
"""

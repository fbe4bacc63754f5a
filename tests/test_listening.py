"""What listeners count by: each start and each end once, and not too many names."""

from __future__ import annotations

from grequests._listening import Few, Flights, Server, server_of


class Thing:
    pass


def test_a_request_flies_from_its_start_to_its_end() -> None:
    flights: Flights[str] = Flights()
    one, other = Thing(), Thing()
    assert flights.start(one, "a")
    assert flights.start(other, "b")
    assert flights.land(one) == "a"
    assert flights.forget(one)
    assert flights.land(other) == "b"


def test_between_two_attempts_it_does_not() -> None:
    flights: Flights[str] = Flights()
    one = Thing()
    assert flights.start(one, "first")
    assert flights.land(one) == "first"
    assert flights.start(one, "second")
    assert flights.land(one) == "second"
    assert flights.land(one) is None  # as when it is cancelled while it waits
    assert flights.forget(one)


def test_what_is_told_twice_counts_once() -> None:
    flights: Flights[str] = Flights()
    one = Thing()
    assert flights.start(one, "a")
    assert not flights.start(one, "b")
    assert flights.land(one) == "a"
    assert flights.land(one) is None


def test_what_never_started_is_not_known() -> None:
    flights: Flights[str] = Flights()
    assert flights.land(Thing()) is None
    assert not flights.forget(Thing())


def test_a_request_that_is_sent_again_in_another_run_is_a_new_one() -> None:
    flights: Flights[str] = Flights()
    one = Thing()
    for _ in range(2):
        assert flights.start(one, "a")
        assert flights.land(one) == "a"
        assert flights.forget(one)
        assert not flights.forget(one)


def test_the_first_names_are_kept_and_no_others() -> None:
    few = Few(2)
    assert [each in few for each in ("a", "b", "a", "c", "b", "c")] == [
        *([True] * 3),
        *(False, True, False),
    ]
    assert "a" not in Few(0)


def test_a_host_in_parts() -> None:
    assert server_of("https://example.org") == Server("example.org", 443)
    assert server_of("http://example.org") == Server("example.org", 80)
    assert server_of("https://[::1]:8443") == Server("::1", 8443)
    assert server_of("mock://place") == Server("place", None)
    assert server_of("") is None

"""`stream=True` in the fast lane: what is read, in which pieces, and what becomes of the connection.

The bodies are compared with what plain Requests makes of the same bytes, read in the same way.
"""

from __future__ import annotations

import gc
import io
import itertools
import pickle
import socket
import ssl
import threading
import zlib

import gevent
import pytest
import requests
import trustme
import urllib3
from engine.raw import RawServer, answer, eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import Answer, Recorder, sealed_environment
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

import grequests
from grequests._engine import current_engine

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def recorder(tmp_path):
    with Recorder() as server, sealed_environment(tmp_path):
        yield server


def stream_one(url, **kwargs):
    """One streamed response of the fast lane."""
    request = grequests.request(kwargs.pop("method", "GET"), url, **kwargs)
    (response,) = grequests.map([request], stream=True)
    if response is None:
        raise request.exception
    assert type(response) is grequests.Response
    assert response.is_streamed
    return response


def counts():
    state = current_engine().statistics()
    return state.open, state.idle, state.streaming


# --- the same bytes read in the same way ---------------------------------------------------------


def chunked(*pieces, end=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + end


def gzipped(data):
    coder = zlib.compressobj(wbits=31)
    return coder.compress(data) + coder.flush()


TEXT = "\n".join(f"line {number} äöü €" for number in range(300)).encode()
FRAMINGS = {
    "length": HEAD + b"Content-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
    "close": HEAD + b"\r\n" + TEXT,
    "chunked": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + chunked(*(TEXT[at : at + 700] for at in range(0, len(TEXT), 700))),
    "ragged": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + chunked(TEXT[:1], TEXT[1:3], TEXT[3:2000], TEXT[2000:], end=b"0\r\nX: y\r\n\r\n"),
    "gzip": HEAD
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzipped(TEXT))
    + gzipped(TEXT),
    "gzip chunked": HEAD
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(gzipped(TEXT)[:100], gzipped(TEXT)[100:]),
    "not gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "empty": HEAD + b"Content-Length: 0\r\n\r\n",
    "empty chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc",
    "short": HEAD + b"Content-Length: 900\r\n\r\n" + TEXT[:500],
    "short chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(TEXT[:90], end=b""),
    "cut chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n40\r\nshort",
    "http/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + TEXT[:300],
    "error": b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops",
    "redirect without a target": b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere",
}
CLOSES = {"close", "short", "short chunks", "cut chunk", "http/1.0"}

READERS = {
    "content": lambda r: r.content,
    "text": lambda r: r.text,
    "iter_content()": lambda r: list(r.iter_content()),
    "iter_content(1000)": lambda r: list(r.iter_content(1000)),
    "iter_content(512, decode)": lambda r: list(r.iter_content(512, decode_unicode=True)),
    "iter_content(7) in part, then close": lambda r: (
        list(itertools.islice(r.iter_content(7), 3)),
        r.close(),
    ),
    "iter_lines": lambda r: list(r.iter_lines()),
    "iter_lines(decode)": lambda r: list(r.iter_lines(decode_unicode=True)),
    "iter_lines(delimiter)": lambda r: list(r.iter_lines(delimiter=b"n")),
    "for": list,
    "raw.read()": lambda r: r.raw.read(),
    "raw.read(10)": lambda r: [r.raw.read(10), r.raw.read(10), r.raw.tell()],
    "raw.read(decode)": lambda r: r.raw.read(decode_content=True),
    "raw.read(0)": lambda r: [r.raw.read(0), r.raw.read(3)],
    "raw.stream": lambda r: list(r.raw.stream(100)),
    "raw.stream(decode)": lambda r: list(r.raw.stream(100, decode_content=True)),
    "raw.readinto": lambda r: (lambda into: (r.raw.readinto(into), into))(bytearray(20)),
    "raw.data": lambda r: r.raw.data,
    "raw is a file": lambda r: io.BufferedReader(r.raw, 64).read(300),
    "raw iterated": lambda r: list(r.raw),
    "twice": lambda r: [r.content, r.content, list(r.iter_content(50))],
    "iter_content twice": lambda r: [list(r.iter_content(64)), list(r.iter_content(64))],
    "content after a part": lambda r: [next(r.iter_content(5), None), r.content],
    "read after close": lambda r: [r.close(), r.raw.closed, r.raw.read()],
    "with": lambda r: r.__enter__().content,
    "json": lambda r: r.json(),
    "drain": lambda r: r.raw.drain_conn(),
    "length": lambda r: [r.raw.length_remaining, r.raw.read(4), r.raw.length_remaining],
    "pickled": lambda r: pickle.loads(pickle.dumps(r)).content,
    "state": lambda r: [r._content, r._content_consumed, r.raw.closed, r.raw.status, r.raw.version],
    "trailers": lambda r: [r.content, dict(r.raw.headers), r.headers],
}


def outcome_of(read, response):
    try:
        said = read(response)
    except Exception as error:
        text = str(error).split("0x")[0]
        return type(error), text if "decompress" not in text else "decompressing"
    return said, response._content_consumed, response.headers, response.reason, response.url


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_body_reads_as_in_requests(recorder, framing):
    recorder.default = Answer(FRAMINGS[framing], close=framing in CLOSES)
    for name, read in READERS.items():
        with requests.get(recorder.url, stream=True) as response:
            theirs = outcome_of(read, response)
        with stream_one(recorder.url) as response:
            assert outcome_of(read, response) == theirs, name
    eventually(lambda: counts()[0] == counts()[1] and not counts()[2], "all to be returned")


def test_a_body_that_comes_in_any_packets_reads_as_in_requests(recorder):
    @settings(max_examples=60, deadline=None)
    @given(
        framing=st.sampled_from(sorted(FRAMINGS)),
        cuts=st.lists(st.floats(0, 1), max_size=4),
        read=st.sampled_from(sorted(READERS)),
    )
    def compare(framing, cuts, read):
        recorder.default = Answer(FRAMINGS[framing], close=framing in CLOSES, cuts=tuple(cuts))
        with requests.get(recorder.url, stream=True) as response:
            theirs = outcome_of(READERS[read], response)
        with stream_one(recorder.url) as response:
            assert outcome_of(READERS[read], response) == theirs

    compare()


def test_the_response_to_head_has_no_body(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 5\r\n\r\n")
    response = stream_one(recorder.url, method="HEAD")
    assert (response.content, response.headers["content-length"]) == (b"", "5")
    assert recorder.connections == 1
    assert counts() == (1, 1, 0)


# --- the connection ------------------------------------------------------------------------------


def slow_body(gate):
    """Half of a body, and the other half when the gate opens."""

    def script(peer):
        while peer.request() is not None:
            peer.send(HEAD + b"Content-Length: 10\r\n\r\nfirst")
            gate.wait(20)
            peer.send(b"later")

    return script


def test_a_response_is_there_before_its_body_is(no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        response = stream_one(server.url)
        assert counts() == (0, 0, 1)
        parts = response.iter_content(5)
        assert next(parts) == b"first"
        gate.set()
        assert list(parts) == [b"later"]
        assert counts() == (1, 1, 0)
        assert stream_one(server.url).content == b"firstlater"
        assert server.opened == 1
        grequests.close()


def test_other_greenlets_run_while_a_body_is_waited_for():
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        response = stream_one(server.url)
        gevent.spawn(gate.set)  # nobody else opens it
        assert response.content == b"firstlater"


@pytest.mark.parametrize("leave", ["close", "with", "forget", "forget unread", "raw.close"])
def test_a_response_left_in_the_middle_closes_its_connection(leave, no_leaks):
    gone = threading.Event()

    def script(peer):
        peer.request()
        peer.send(HEAD + b"Content-Length: 10\r\n\r\nfirst")
        peer.wait_end()
        gone.set()

    with RawServer(script) as server:
        response = stream_one(server.url)
        assert counts() == (0, 0, 1)
        if leave == "close":
            response.close()
        elif leave == "with":
            with response:
                assert response.raw.read(2) == b"fi"
        elif leave == "raw.close":
            response.raw.close()
        elif leave == "forget":
            assert next(response.iter_content(2)) == b"fi"
        del response
        assert gone.wait(10)
        assert counts() == (0, 0, 0)
        grequests.close()


def test_a_forgotten_response_needs_no_garbage_collector(no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        gc.collect()
        gc.disable()
        try:
            response = stream_one(server.url)
            response.raw.read(1)
            del response
            assert counts() == (0, 0, 0)
        finally:
            gc.enable()
        gate.set()


def test_a_reader_who_stops_makes_the_server_stop():
    size = 64 << 20
    sent = []

    def script(peer):
        peer.request()
        peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        peer.sock.setblocking(False)
        piece = bytes(65536)
        full.wait(10)
        while sum(sent) < size:
            try:
                sent.append(peer.sock.send(piece))
            except BlockingIOError:
                stopped.set()
                peer.sock.setblocking(True)

    full, stopped = threading.Event(), threading.Event()
    with RawServer(script) as server:
        response = stream_one(server.url)
        full.set()
        assert stopped.wait(10)
        before = sum(sent)
        assert before < size // 2  # what the kernel's buffers hold
        gevent.sleep(0)
        assert sum(sent) == before
        assert sum(map(len, response.iter_content(1 << 20))) == size


@pytest.mark.parametrize(
    "rest",
    [b"later+", b"laterHTTP/1.1 200 OK\r\n\r\n", b"later\r\n"],
    ids=["a byte", "a response", "a blank line"],
)
def test_a_connection_with_something_left_over_is_not_used_again(rest, no_leaks):
    def script(peer):
        while peer.request() is not None:
            peer.send(HEAD + b"Content-Length: 10\r\n\r\nfirst")
            gate.wait(10)
            peer.send(rest)

    gate = threading.Event()
    with RawServer(script) as server:
        response = stream_one(server.url)
        gate.set()
        assert response.content == b"firstlater"
        assert stream_one(server.url).content == b"firstlater"
        assert server.opened == 2
        grequests.close()


def test_a_length_with_a_surplus_in_the_same_packet_is_cut(no_leaks):
    with RawServer(lambda peer: (peer.request(), peer.send(answer(b"abc") + b"def"))) as server:
        assert stream_one(server.url).content == b"abc"
        assert counts()[1] == 0


@pytest.mark.parametrize(
    "size",
    [b"-5", b"0x5", b"+5", b"zz", b"5_0", b"11111111111111111"],
)
def test_a_chunk_size_that_is_none_is_an_error(size, no_leaks):
    def script(peer):
        peer.request()
        peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        gate.wait(10)
        peer.send(size + b"\r\nhello\r\n0\r\n\r\n")
        peer.wait_end()

    gate = threading.Event()
    with RawServer(script) as server:
        response = stream_one(server.url)
        gate.set()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = response.content
        assert counts() == (0, 0, 0)


def test_a_reset_in_the_body_is_a_chunked_encoding_error_as_in_requests(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 10\r\n\r\nfirst", reset=True, cuts=(0.5,))
    for response in (requests.get(recorder.url, stream=True), stream_one(recorder.url)):
        with pytest.raises(requests.exceptions.ChunkedEncodingError), response:
            _ = response.content


def test_silence_in_the_body_is_a_timeout_as_in_requests(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 10\r\n\r\nfirst", hold=True)
    texts = []
    for response in (
        requests.get(recorder.url, stream=True, timeout=0.1),
        stream_one(recorder.url, timeout=0.1),
    ):
        with pytest.raises(requests.exceptions.ConnectionError) as raised, response:
            _ = response.content
        texts.append(str(raised.value))
    assert texts[0] == texts[1]
    assert counts() == (0, 0, 0)


def test_a_timeout_of_the_users_own_ends_the_reading(recorder, no_leaks):
    recorder.default = Answer(HEAD + b"Content-Length: 10\r\n\r\nfirst", hold=True)
    response = stream_one(recorder.url)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        _ = response.content
    assert counts() == (0, 0, 0)


# --- in company ----------------------------------------------------------------------------------


def test_many_are_read_at_once(no_leaks):
    with RawServer(lambda peer: peer.serve()) as server:
        wanted = [f"/{number}" for number in range(300)]
        urls = [server.url + each for each in wanted]
        found = [
            each.content.decode()
            for each in grequests.imap(map(grequests.get, urls), stream=True, size=20)
        ]
        assert sorted(found) == sorted(wanted)
        assert server.peak <= 21
        assert [
            each.text for each in grequests.map([grequests.get(url) for url in urls], stream=True)
        ] == wanted
        grequests.close()


def test_unread_results_of_an_abandoned_imap_are_closed(no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        results = grequests.imap((grequests.get(server.url) for _ in range(6)), stream=True, size=3)
        first = next(results)
        results.close()
        assert counts()[2] == 1
        gate.set()
        assert first.content == b"firstlater"
        eventually(lambda: counts()[2] == 0, "the others to be closed")
        grequests.close()


def test_a_body_can_be_read_in_another_thread(no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        response = stream_one(server.url)
        read = []
        thread = threading.Thread(target=lambda: read.append(response.content))
        thread.start()
        gate.set()
        thread.join(10)
        assert read == [b"firstlater"]
        assert counts() == (0, 0, 0)  # closed: only the engine's thread can return it


def test_a_body_can_be_read_when_the_thread_that_asked_has_ended(no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        responses = []
        thread = threading.Thread(target=lambda: responses.append(stream_one(server.url)))
        thread.start()
        thread.join(10)
        gate.set()
        assert responses.pop().content == b"firstlater"


def test_closing_the_idle_connections_leaves_streams_alone(no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        response = stream_one(server.url)
        grequests.close()
        gate.set()
        assert response.content == b"firstlater"
        grequests.close()


# --- redirects, retries, hooks, sessions ---------------------------------------------------------


def test_a_redirect_on_the_way_is_read_and_followed(recorder):
    recorder.answers["/from"] = Answer(
        b"HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nmoved"
    )
    recorder.answers["/to"] = Answer(HEAD + b"Content-Length: 4\r\n\r\nhere")
    for session in (None, requests.Session()):
        response = stream_one(recorder.url + "/from", session=session)
        assert not response._content_consumed
        assert response.content == b"here"
        (first,) = response.history
        assert (first.content, first.status_code) == (b"moved", 302)
        assert b"a=b" in recorder.requests[-1]
    assert recorder.connections == 1
    response = stream_one(recorder.url + "/from", allow_redirects=False)
    assert not response._content_consumed
    assert response.raw.read() == b"moved"


def test_a_status_to_retry_is_retried_and_the_last_one_is_streamed(recorder):
    recorder.default = Answer(
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"on", b"ce")
    )
    theirs, ours = requests.Session(), requests.Session()
    for session in (theirs, ours):
        retry = Retry(2, status_forcelist=[503], raise_on_status=False)
        session.mount("http://", HTTPAdapter(max_retries=retry))
    expected = list(theirs.get(recorder.url, stream=True).iter_content(None))
    theirs.close()
    assert len(recorder.taken()) == 3
    response = stream_one(recorder.url, session=ours)
    assert list(response.iter_content(None)) == expected == [b"on", b"ce"]
    assert response.raw.retries.total == 0
    assert len(recorder.taken()) == 3


def test_hooks_get_the_response_unread_and_may_read_it(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 4\r\n\r\nhere")
    seen = []

    def look(response, **kwargs):
        seen.append((response._content_consumed, kwargs["stream"], response.raw.read(2)))

    response = stream_one(recorder.url, hooks={"response": look})
    assert seen == [(False, True, b"he")]
    assert response.content == b"re"


def test_hooks_see_a_redirect_unread_and_it_is_followed(recorder):
    recorder.answers["/from"] = Answer(
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 5\r\n\r\nmoved"
    )
    seen = []

    def look(response, **kwargs):
        seen.append((response.status_code, response._content_consumed))

    response = stream_one(recorder.url + "/from", hooks={"response": look})
    assert response.content == b"ok"
    assert seen == [(302, False), (200, False)]
    assert response.history[0].content == b"moved"


def test_cookies_of_a_streamed_response_reach_the_session(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 2\r\nSet-Cookie: a=b\r\n\r\nok")
    session = requests.Session()
    session.stream = True
    response = stream_one(recorder.url, session=session)
    assert session.cookies.get_dict() == response.cookies.get_dict() == {"a": "b"}


def test_a_request_says_for_itself_whether_it_is_streamed(recorder):
    wanted = [grequests.get(recorder.url, stream=each) for each in (True, False)]
    assert [each._content_consumed for each in grequests.map(wanted)] == [False, True]
    wanted = [grequests.get(recorder.url, stream=each) for each in (True, False)]
    assert [each._content_consumed for each in grequests.map(wanted, stream=True)] == [False, True]
    assert grequests.get(recorder.url).send(stream=True).response.is_streamed
    # A kept response must not keep its connection: both bodies came with their heads.
    assert recorder.connections == 1 or counts()[2] == 0


def test_the_connection_can_be_looked_at_while_it_is_read():
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        response = stream_one(server.url)
        raw = response.raw
        assert isinstance(raw, urllib3.HTTPResponse)
        assert raw.connection.sock.getpeername() == (server.host, server.port)
        assert raw.connection.sock.fileno() == raw.fileno()
        gate.set()
        assert response.content == b"firstlater"
        assert raw.connection is None


# --- TLS and proxies -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_body_streams_through_tls(authority, version, tmp_path, no_leaks):
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    authority.issue_cert("127.0.0.1").configure_cert(context)
    body = bytes(range(256)) * 4096

    def script(peer):
        while peer.request() is not None:
            peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
            gate.wait(10)
            peer.send(body)

    gate = threading.Event()
    with RawServer(script, tls=context) as server:
        response = stream_one(server.url, verify=str(bundle))
        assert response.raw.connection.sock.getpeercert()["subjectAltName"]
        gate.set()
        assert b"".join(response.iter_content(10_000)) == body
        assert stream_one(server.url, verify=str(bundle)).raw.read() == body
        assert server.opened == 1
        grequests.close()


def test_a_close_delimited_body_through_tls_ends_with_the_stream(authority, tmp_path):
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def script(peer):
        peer.request()
        peer.send(HEAD + b"\r\nall of")
        peer.send(b" it")
        peer.sock.unwrap()

    with RawServer(script, tls=context) as server:
        assert stream_one(server.url, verify=str(bundle)).content == b"all of it"


def test_a_body_streams_through_a_proxy(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 4\r\n\r\nhere")
    response = stream_one("http://example.org/x", proxies={"http": recorder.url})
    assert response.content == b"here"
    assert recorder.requests[0].startswith(b"GET http://example.org/x HTTP/1.1\r\n")


# --- descriptors ---------------------------------------------------------------------------------


def test_more_streams_than_descriptors_fail_rather_than_wait_for_ever(monkeypatch, no_leaks):
    gate = threading.Event()
    with RawServer(slow_body(gate)) as server:
        engine = current_engine()
        monkeypatch.setattr(engine.budget, "limit", engine.budget.taken + 3)
        monkeypatch.setattr(engine.budget, "refresh", lambda: None)
        wanted = [grequests.get(server.url) for _ in range(5)]
        responses = grequests.map(wanted, stream=True)
        assert [each is not None for each in responses].count(True) == 3
        failed = [each for each in wanted if each.response is None]
        for each in failed:
            assert type(each.exception) is requests.exceptions.ConnectionError
            assert "Too many open files" in str(each.exception)
        gate.set()
        for each in filter(None, responses):
            assert each.content == b"firstlater"
        grequests.close()


def test_streams_that_are_read_on_the_way_share_few_descriptors(monkeypatch, no_leaks):
    with RawServer(lambda peer: peer.serve()) as server:
        engine = current_engine()
        monkeypatch.setattr(engine.budget, "limit", engine.budget.taken + 3)
        monkeypatch.setattr(engine.budget, "refresh", lambda: None)
        wanted = (grequests.get(f"{server.url}/{number}") for number in range(40))
        found = [each.text for each in grequests.imap(wanted, stream=True, size=10)]
        assert len(set(found)) == 40
        grequests.close()


def test_the_socket_of_a_stream_is_the_process_own(recorder):
    recorder.default = Answer(HEAD + b"Content-Length: 10\r\n\r\nfirst", hold=True)
    response = stream_one(recorder.url)
    peer = socket.fromfd(response.raw.connection.sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
    assert peer.getpeername()[1] == recorder.port
    peer.close()
    response.close()

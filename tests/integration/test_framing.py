"""Requests whose framing somebody else could read otherwise. Each is refused as JSON, its connection ends with that answer, and
what stands behind it is taken for no request: behind each stands one for /healthz, which must get no answer.
"""
import pytest

import bodies
from rawhttp import RawConnection, head, post



ROW = bodies.images(1, seed=71)[0].tobytes()
GOOD = post("/predict", ROW)
SMUGGLED = head("GET", "/healthz")
CHUNKED = head("POST", "/predict", "Transfer-Encoding: chunked")


def first(line, *lines):
    """A head with that first line, and no body."""
    return "\r\n".join([line, *(lines or ("Host: localhost",)), "", ""]).encode("latin-1")


def lines(*headers):
    """A GET whose head has these lines besides Host, byte for byte."""
    return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(headers) + b"\r\n\r\n"


def body(*headers):
    """A POST with these headers and a row behind them."""
    return head("POST", "/predict", *headers) + ROW


def chunks(data):
    return CHUNKED + data


LENGTHS = {
    "two lengths": (body("Content-Length: 784", "Content-Length: 10"), "more than one content-length"),
    "two lengths, the smaller first": (body("Content-Length: 10", "Content-Length: 784"), "more than one content-length"),
    "two equal lengths": (body("Content-Length: 784", "content-length: 784"), "more than one content-length"),
    "two lengths joined": (body("Content-Length: 784, 784"), "more than one content-length"),
    "a length and chunks": (body("Content-Length: 784", "Transfer-Encoding: chunked"), "content-length and transfer-encoding"),
    "chunks and a length": (chunks(b"0\r\n\r\n").replace(b"chunked\r\n", b"chunked\r\nContent-Length: 5\r\n"),
                            "content-length and transfer-encoding"),
    "an empty length": (body("Content-Length:"), "digits"), "a length with a plus": (body("Content-Length: +784"), "digits"),
    "a negative length": (body("Content-Length: -1"), "digits"), "a hexadecimal length": (body("Content-Length: 0x310"), "digits"),
    "a length with a blank in it": (body("Content-Length: 7 84"), "digits"),
    "a length with a blank behind it": (body("Content-Length: 784 "), "digits"),
    "a length with a fraction": (body("Content-Length: 784.0"), "digits"),
    "a length of 2^63": (body("Content-Length: 9223372036854775808"), "digits"),
    "a length of 2^64 and 784": (body("Content-Length: 18446744073709552400"), "digits"),
    "a length with a blank before its colon": (body("Content-Length : 784"), "blank"),
    "a length with a tab before its colon": (body("Content-Length\t: 784"), "blank"),
}

CODINGS = {
    "two codings": (body("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "more than one transfer-encoding"),
    "an empty coding": (body("Transfer-Encoding:"), "exactly"), "chunked twice": (body("Transfer-Encoding: chunked, chunked"), "exactly"),
    "chunked with a blank behind it": (body("Transfer-Encoding: chunked "), "exactly"),
    "chunked with a parameter": (body("Transfer-Encoding: chunked;a=b"), "exactly"),
    "chunked before the last": (body("Transfer-Encoding: chunked, gzip"), "exactly"),
    "chunked in quotes": (body('Transfer-Encoding: "chunked"'), "exactly"),
    "a comma before chunked": (body("Transfer-Encoding: ,chunked"), "exactly"),
    "chunked behind a byte beyond ASCII": (chunks(b"0\r\n\r\n").replace(b" chunked", b" \xa0chunked"), "exactly"),
    "chunked behind a vertical tab": (chunks(b"0\r\n\r\n").replace(b" chunked", b" \x0bchunked"), "control"),
    "a coding with a blank before its colon": (body("Transfer-Encoding : chunked"), "blank"),
    "chunks in HTTP/1.0": (first("POST /predict HTTP/1.0", "Transfer-Encoding: chunked") + b"0\r\n\r\n", "http/1.0"),
}

UNKNOWN_CODINGS = {name: (body(f"Transfer-Encoding: {name}"), "not understood")
                   for name in ("gzip", "gzip, chunked", "identity", "xchunked", "chunkedx", "lzw")}

HOSTS = {
    "no host": (first("GET /healthz HTTP/1.1", "Accept: */*"), "no host"),
    "no host in HTTP/1.2": (first("GET /healthz HTTP/1.2", "Accept: */*"), "no host"),
    "two hosts": (lines(b"host: localhost"), "more than one host"),
    "two hosts in HTTP/1.0": (first("GET /healthz HTTP/1.0", "Host: a", "Host: b"), "more than one host"),
    "two hosts joined": (first("GET /healthz HTTP/1.1", "Host: a, b"), "character"),
    "a host with a path": (first("GET /healthz HTTP/1.1", "Host: a/b"), "character"),
    "a host with a user": (first("GET /healthz HTTP/1.1", "Host: a@b"), "character"),
    "a host beyond ASCII": (first("GET /healthz HTTP/1.1", "Host: m\xfcnchen"), "character"),
}

HEADERS = {
    "a folded header": (lines(b"A: b", b" c"), "folds"), "a header folded by a tab": (lines(b"A: b", b"\tc"), "folds"),
    "a first header that is folded": (first("GET /healthz HTTP/1.1", " Host: localhost"), "folds"),
    "a coding that is folded": (lines(b"A: b", b" Transfer-Encoding: chunked"), "folds"),
    "a line of blanks": (lines(b"A: b", b"  "), "folds"), "a blank before a colon": (lines(b"A : b"), "blank"),
    "a blank in a name": (lines(b"A B: c"), "blank"), "no colon": (lines(b"abc"), "no colon"),
    "no name": (lines(b": b"), "no name"), "a name in parentheses": (lines(b"(A): b"), "character"),
    "a name beyond ASCII": (lines(b"A\xa0: b"), "character"), "NUL in a name": (lines(b"A\0: b"), "control"),
    "NUL in a value": (lines(b"A: b\0c"), "control"), "NUL at the begin of a line": (lines(b"A: b", b"\0"), "control"),
    "an escape in a value": (lines(b"A: \x1b[31m"), "control"), "DEL in a value": (lines(b"A: \x7f"), "control"),
}

LINE_ENDS = {
    "a CR in a value": (lines(b"A: b\rc"), "cr"),
    "a header behind a CR": (lines(b"A: b\rContent-Length: 5"), "cr"),
    "a header behind an LF": (lines(b"A: b\nContent-Length: 5"), "lf"),
    "lines that end with LF": (GOOD.replace(b"\r\n", b"\n", 4), "lf"),
    "a request line that ends with LF": (lines(b"A: b").replace(b"\r\n", b"\n", 1), "lf"),
    "a head that ends with LF": (lines(b"A: b")[:-2] + b"\n", "lf"),
    "an empty line of LF before the request": (b"\n" + lines(b"A: b"), "lf"),
    "a CR before the request": (b"\r" + lines(b"A: b"), "cr"),
    "a request line that ends with two CR": (lines(b"A: b").replace(b"\r\n", b"\r\r\n", 1), "cr"),
    "a head that ends with CR": (lines(b"A: b")[:-2] + b"\rx", "cr"),
}

REQUEST_LINES = {
    "no version": (first("GET /healthz"), "first line"), "no target": (first("GET HTTP/1.1"), "first line"),
    "a method alone": (first("GET"), "first line"), "two blanks before the target": (first("GET  /healthz HTTP/1.1"), "first line"),
    "two blanks before the version": (first("GET /healthz  HTTP/1.1"), "first line"),
    "a blank in the target": (first("GET /health z HTTP/1.1"), "first line"),
    "a blank behind the version": (first("GET /healthz HTTP/1.1 "), "first line"),
    "a blank before the method": (first(" GET /healthz HTTP/1.1"), "first line"),
    "tabs for blanks": (first("GET\t/healthz\tHTTP/1.1"), "first line"),
    "a version in lower case": (first("GET /healthz http/1.1"), "first line"),
    "a version of three digits": (first("GET /healthz HTTP/1.11"), "first line"),
    "a method that is no token": (first("G(T /healthz HTTP/1.1"), "first line"),
    "NUL in the target": (first("GET /health\0z HTTP/1.1"), "control"),
    "NUL before the method": (first("\0GET /healthz HTTP/1.1"), "control"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "control"),
}

VERSIONS = {version: (first(f"GET /healthz {version}"), "version") for version in ("HTTP/2.0", "HTTP/9.9", "HTTP/0.9")}
VERSIONS["the preface of HTTP/2"] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"

TUNNELS = {"CONNECT": (first("CONNECT localhost:8080 HTTP/1.1"), "tunnel"),
           "CONNECT with a body": (first("CONNECT a:1 HTTP/1.1", "Host: a", "Content-Length: 5") + b"abcde", "tunnel")}

CHUNKS = {
    "no size": (chunks(b"\r\n"), "chunk's size"), "a size with 0x": (chunks(b"0x1\r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a size with a plus": (chunks(b"+1\r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a negative size": (chunks(b"-1\r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a blank before a size": (chunks(b" 1\r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a blank behind a size": (chunks(b"1 \r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a size that is no number": (chunks(b"xyz\r\n"), "chunk's size"),
    "a size of 2^63": (chunks(b"8000000000000000\r\na"), "chunk's size"),
    "a size of 2^64 and 1": (chunks(b"10000000000000001\r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a size of 17 digits": (chunks(b"00000000000000001\r\na\r\n0\r\n\r\n"), "chunk's size"),
    "a size line that ends with LF": (chunks(b"1\na\r\n0\r\n\r\n"), "lf"),
    "an extension that ends with LF": (chunks(b"1;a\na\r\n0\r\n\r\n"), "lf"),
    "a CR in an extension": (chunks(b"1;a\rb\r\na\r\n0\r\n\r\n"), "cr"),
    "NUL in an extension": (chunks(b"1;\0\r\na\r\n0\r\n\r\n"), "control"),
    "a long extension": (chunks(b"1;" + b"a" * 257 + b"\r\na\r\n0\r\n\r\n"), "extension"),
    "a chunk without CRLF": (chunks(b"1\r\nab\r\n0\r\n\r\n"), "crlf"), "a chunk with LF behind it": (chunks(b"1\r\na\n0\r\n\r\n"), "crlf"),
    "a chunk with CR behind it": (chunks(b"1\r\na\r0\r\n\r\n"), "crlf"),
    "a last chunk that ends with LF": (chunks(b"1\r\na\r\n0\n\r\n"), "lf"),
    "a length in the trailer": (chunks(b"0\r\nContent-Length: 5\r\n\r\n"), "trailer"),
    "a coding in the trailer": (chunks(b"0\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"), "trailer"),
    "a host in the trailer": (chunks(b"0\r\nHost: a\r\n\r\n"), "trailer"),
    "authorization in the trailer": (chunks(b"0\r\nAuthorization: a\r\n\r\n"), "trailer"),
    "a folded trailer": (chunks(b"0\r\nA: b\r\n c\r\n\r\n"), "folds"), "a trailer without a colon": (chunks(b"0\r\nabc\r\n\r\n"), "no colon"),
    "a trailer that ends with LF": (chunks(b"0\r\nA: b\n\r\n"), "lf"),
}

CODES = {400: [LENGTHS, CODINGS, HOSTS, HEADERS, LINE_ENDS, REQUEST_LINES, CHUNKS], 501: [UNKNOWN_CODINGS, TUNNELS], 505: [VERSIONS]}
CASES = [pytest.param(data, code, said, id=name)
         for code, groups in CODES.items() for group in groups for name, (data, said) in group.items()]


def refused_and_ended(daemon, raw, refuses, code, said):
    answer = raw.answer()
    assert (answer.header("Connection") or "").lower() == "close", repr(answer)
    assert raw.at_end(), f"more came: {raw.pending[:200]!r}"
    refuses(daemon, answer, code, said)


@pytest.mark.parametrize("data, code, said", CASES)
def test_doubtful_framing_is_refused_and_what_follows_is_no_request(daemon, refuses, data, code, said):
    with RawConnection(daemon.port) as raw:
        raw.send(data + SMUGGLED)
        refused_and_ended(daemon, raw, refuses, code, said)


@pytest.mark.parametrize("data, code, said", CASES)
def test_doubtful_framing_behind_a_good_request_is_refused_after_its_answer(daemon, refuses, data, code, said):
    with RawConnection(daemon.port) as raw:
        raw.send(GOOD + data + SMUGGLED)
        assert raw.answer().status == 200
        refused_and_ended(daemon, raw, refuses, code, said)


# Up to the byte that shows the fault and no further: what a client sends to a connection that has been closed may cost it the
# answer, which lies in its own system's memory.
SHOWN = {
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length:", 400, "more than one content-length"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nhost:", 400, "more than one host"),
    "no host": (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 400, "no host"),
    "a folded header": (b"GET / HTTP/1.1\r\nA: b\r\n ", 400, "folds"), "NUL in a value": (b"GET / HTTP/1.1\r\nA: b\0", 400, "control"),
    "a line that ends with LF": (b"GET / HTTP/1.1\n", 400, "lf"), "no version": (b"GET /\r", 400, "first line"),
    "a size with 0x": (CHUNKED + b"0x", 400, "chunk's size"), "a chunk without CRLF": (CHUNKED + b"1\r\nab", 400, "crlf"),
    "an unknown coding": (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r", 501, "not understood"),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r", 505, "version"), "CONNECT": (b"CONNECT ", 501, "tunnel"),
}


@pytest.mark.parametrize("data, code, said", SHOWN.values(), ids=SHOWN.keys())
def test_doubtful_framing_is_refused_at_its_byte_when_the_bytes_come_one_by_one(daemon, refuses, data, code, said):
    with RawConnection(daemon.port) as raw:
        for i in range(len(data)):
            raw.send(data[i:i + 1])
        refused_and_ended(daemon, raw, refuses, code, said)


@pytest.mark.parametrize("data", [
    head("POST", "/predict", "content-LENGTH:\t784") + ROW,
    first("POST /predict HTTP/1.1", "Host:", "Content-Length: 784") + ROW,
    first("POST /predict HTTP/1.1", "Host: [::1]:8080 \t", "Content-Length: 784") + ROW,
    first("POST /predict HTTP/1.1", "Host: localhost", "X-Text: a\tb  \xfc", "X-Empty:", "Content-Length: 0784") + ROW,
    first("POST /predict HTTP/1.9", "Host: localhost", "Content-Length: 784") + ROW,
    head("POST", "/predict", "TRANSFER-ENCODING:CHUNKED") + b"310;a=\"b\"\r\n" + ROW + b"\r\n000;c\r\nX-Sum: 1\r\n\r\n",
    b"\r\n\r\n" + GOOD + b"\r\n",
], ids=["a tab", "an empty host", "blanks behind a host", "odd headers", "HTTP/1.9", "chunks with all that they may have", "empty lines"])
def test_unusual_framing_is_served_and_the_connection_goes_on(daemon, data):
    with RawConnection(daemon.port) as raw:
        for _ in range(2):
            raw.send(data)
            answer = raw.answer()
            assert answer.status == 200, repr(answer)
        raw.send(SMUGGLED)
        assert raw.answer().status == 200

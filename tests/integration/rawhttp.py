"""HTTP by the byte, for what a well-behaved client library does not send: pipelined and half requests, bad framing.

    with RawConnection(daemon.port) as raw:
        raw.send(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" * 2)
        first, second = raw.answer(), raw.answer()
"""
import select
import socket

from harness import TIMEOUT, Answer


def head(method, path, *lines):
    """A request's head, blank line included."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def post(path, body, *lines):
    return head("POST", path, f"Content-Length: {len(body)}", *lines) + body


class RawConnection:
    def __init__(self, port, host="127.0.0.1", receive_bytes=None):
        """`host`: an address, or the path of a Unix socket. `receive_bytes`: what the system may buffer of answers."""
        self.socket = socket.socket(socket.AF_UNIX if "/" in host else socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(TIMEOUT)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            self.socket.connect(host if "/" in host else (host, port))
        except OSError:
            self.socket.close()
            raise
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def abort(self):
        """Closes with a reset, as a client that crashes does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def has_answer(self):
        """Whether something can be read at this moment (an answer's begin, or the end of the connection)."""
        return bool(self.pending) or bool(select.select([self.socket], [], [], 0)[0])

    def answer(self, to="GET"):
        """The next answer; one to HEAD has no body. 1xx are answers of their own."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]
        answer = Answer(int(status), headers, b"")
        if to != "HEAD" and answer.status >= 200 and answer.status != 204:
            answer.body = self._body(answer)
        return answer

    def at_end(self):
        """Whether the daemon has closed its side; waits for either that or a byte."""
        try:
            self.pending += self.socket.recv(65536)
        except ConnectionResetError:
            return True
        return not self.pending

    def _body(self, answer):
        if (answer.header("Transfer-Encoding") or "").lower() == "chunked":
            return b"".join(self._chunks())
        if answer.header("Content-Length") is not None:
            return self._exactly(int(answer.header("Content-Length")))
        return self._rest()

    def _chunks(self):
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            chunk = self._exactly(size)
            assert self._until(b"\r\n") == b"\r\n"
            if not size:
                return
            yield chunk

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the connection ended after {self.pending[:200]!r}")
        self.pending += data

    def _until(self, mark):
        while mark not in self.pending:
            self._more()
        taken, self.pending = self.pending.split(mark, 1)
        return taken + mark

    def _exactly(self, count):
        while len(self.pending) < count:
            self._more()
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken

    def _rest(self):
        while True:
            try:
                self._more()
            except EOFError:
                taken, self.pending = self.pending, b""
                return taken

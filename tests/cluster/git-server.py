#!/usr/bin/env python3
"""Serves a folder of bare repositories by Git's smart HTTP protocol.

    git-server.py ADDRESS PORT ROOT

Each request runs `git http-backend` (CGI, RFC 3875) and streams both bodies. Fetch and push are
served; a repository that is not there is 404, as on any Git host. GET /healthz answers 200.
"""
import http.server
import os
import subprocess
import sys
import threading

CHUNK = 64 * 1024


class GitHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, b"ok\n")
        else:
            self.serve_git()

    def do_POST(self):
        self.serve_git()

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve_git(self):
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "GIT_PROJECT_ROOT": self.server.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            # The folders may belong to another user than the one that serves them.
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "http.receivepack",
            "GIT_CONFIG_VALUE_1": "true",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": self.request_version,
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_USER": "anonymous",
        }
        for header, name in (("Content-Length", "CONTENT_LENGTH"),
                             ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
                             ("Git-Protocol", "GIT_PROTOCOL")):
            if header in self.headers:
                env[name] = self.headers[header]
        with subprocess.Popen(["git", "http-backend"], env=env, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as backend:
            # The backend may answer before it has read everything: feed it from a second thread.
            feeder = threading.Thread(target=self.feed, args=(backend.stdin,), daemon=True)
            feeder.start()
            try:
                self.relay(backend.stdout)
            finally:
                backend.stdout.close()
                feeder.join()

    def feed(self, sink):
        try:
            for block in self.body():
                sink.write(block)
            sink.close()
        except (BrokenPipeError, ConnectionError, TimeoutError, ValueError):
            self.close_connection = True

    def body(self):
        """The request's body: of a given length, or chunked (RFC 9112, 7.1)."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline(64).split(b";")[0], 16)
                if size == 0:
                    while self.rfile.readline(4096).strip():
                        pass
                    return
                yield self.read_exactly(size)
                self.rfile.readline(8)
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0:
                block = self.read_exactly(min(left, CHUNK))
                left -= len(block)
                yield block

    def read_exactly(self, size):
        block = self.rfile.read(size)
        if len(block) != size:
            raise ConnectionError("the client went away")
        return block

    def relay(self, source):
        """CGI header, then the body in chunks, because its length is not known beforehand."""
        status, headers = 200, []
        while True:
            line = source.readline().rstrip(b"\r\n")
            if not line:
                break
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value.strip()))
        if not headers:
            self.answer(500, b"git http-backend gave no answer\n")
            return
        chunked = self.request_version >= "HTTP/1.1"
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding" if chunked else "Connection", "chunked" if chunked else "close")
        self.end_headers()
        while block := source.read1(CHUNK):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True


class GitServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, root):
        super().__init__(address, GitHandler)
        self.root = root


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: git-server.py ADDRESS PORT ROOT")
    GitServer((sys.argv[1], int(sys.argv[2])), sys.argv[3]).serve_forever()


main()

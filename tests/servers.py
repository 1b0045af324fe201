"""Real servers on the loopback address: nginx, and one that breaks the rules on purpose."""

from __future__ import annotations

import contextlib
import http.server
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIG = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
  log_format line '$status $body_bytes_sent $uri';
  access_log {home}/access.log line;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port}; root {root};
    location /throttled/ {{ alias {root}/; limit_rate 160k; }}
    location /whole/ {{ alias {root}/; max_ranges 0; }}
    rewrite ^/moved/(.*)$ /$1?signature=x redirect;
  }}
  {more}
}}
"""
_TLS = """
  server {{
    listen 127.0.0.1:{port} ssl; root {root};
    ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};
  }}
"""


def wait_for(condition, message: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.02)


class Nginx:
    """nginx over `root`, with an access log; skips the test where there is no nginx.

    `chains` are pairs of PEM files (certificate chain, key); each gets a TLS port of its own.
    """

    def __init__(self, home: Path, root: Path, chains=()) -> None:
        if NGINX is None:
            pytest.skip("nginx is not installed (Debian: apt install nginx-light)")
        self.root, self.log, self.marks = root, home / "access.log", 0
        with contextlib.ExitStack() as stack:
            free = [socket.create_server(("127.0.0.1", 0)) for _ in range(1 + len(chains))]
            port, *tls_ports = ports = [stack.enter_context(s).getsockname()[1] for s in free]
        tls = [_TLS.format(port=p, root=root, pair=pair) for p, pair in zip(tls_ports, chains)]
        config = home / "nginx.conf"
        config.write_text(_CONFIG.format(home=home, root=root, port=port, more="".join(tls)))
        self.process = subprocess.Popen([NGINX, "-p", str(home), "-c", str(config), "-e", "stderr"])
        self.url = f"http://127.0.0.1:{port}"
        self.tls = [f"https://127.0.0.1:{p}" for p in tls_ports]
        for p in ports:
            wait_for(lambda p=p: socket.socket().connect_ex(("127.0.0.1", p)) == 0, "no nginx")

    def served(self, since: int = 0) -> list[tuple[int, int, str]]:
        """(status, bytes, path) of the requests after the first `since`."""
        # A line is written after the last byte is sent, but before the next request is answered.
        self.marks += 1
        mark = f"/mark-{self.marks}"
        assert requests.get(self.url + mark).status_code == 404
        wait_for(lambda: mark in self.log.read_text(), "nginx does not log")
        lines = [line.split() for line in self.log.read_text().splitlines() if "/mark-" not in line]
        return [(int(status), int(count), path) for status, count, path in lines][since:]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class FaultyServer:
    """A server of `data` under any name, whose `fault` is switched while it runs.

    `cut` breaks off one answer in five, `cut_all` each of them; `stall` sends half of each and
    keeps the line open. `page` answers all but the first with a web page, `busy` says 503 twice,
    `shifted` sends other bytes than asked for, `whole_cut` takes no ranges and breaks off, too.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.etag, self.fault, self.requests = data, '"1"', None, []
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/UCF-101.zip"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler) -> None:
        data, fault, asked = self.data, self.fault, handler.headers.get("Range", "")
        self.requests.append(asked)
        match = None if fault == "whole_cut" else re.match(r"bytes=(\d*)-(\d*)", asked)
        start, stop = 0, len(data)
        if match and match[1]:
            start, stop = int(match[1]), min(stop, int(match[2]) + 1 if match[2] else stop)
        elif match:
            start = max(0, stop - int(match[2]))
        first, body = not match or not match[1], data[start:stop]
        headers = {"Content-Length": str(len(body)), "ETag": self.etag, "Connection": "close"}
        status = 206 if match else 200
        if match:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        if fault == "busy" and len(self.requests) <= 2:
            status, body = 503, b""
        elif fault == "page" and not first:
            status, body = 200, b"<!DOCTYPE html> Quota!"
            headers |= {"Content-Type": "text/html", "Content-Length": str(len(body))}
        elif fault == "shifted" and not first:
            body = data[start + 1 : stop + 1]
        elif fault == "cut" and len(self.requests) % 5 == 0:
            body = body[: len(body) * 2 // 3]
        elif fault == "whole_cut" or (fault == "cut_all" and not first):
            body = body[:60_000]
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            if fault == "stall" and not first:
                handler.wfile.write(body[: len(body) // 2])
                self.released.wait(30)
            else:
                handler.wfile.write(body)
        except OSError:  # the client has heard enough
            pass

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

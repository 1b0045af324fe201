"""Real servers on the loopback address: nginx, and one that breaks the rules on purpose."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from twostream_utils.data.clip_folder import ClipFolder
from twostream_utils.data.download import Line, download
from twostream_utils.data.remote_zip import fetch_members, make_plan, read_directory
from twostream_utils.data.web import probe

REPO = Path(__file__).resolve().parents[1]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIG = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
  log_format line '$status $body_bytes_sent $uri "$http_range"';
  access_log {home}/access.log line;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  types {{ text/html html; }}
  default_type application/octet-stream;
  limit_conn_zone $server_port zone=one:1m;
  server {{
    listen 127.0.0.1:{port};
    root {root};
    location /throttled/ {{ alias {root}/; limit_rate 160k; }}
    location /single/ {{ alias {root}/; limit_rate 600k; limit_conn one 1; }}
    location /whole/ {{ alias {root}/; max_ranges 0; }}
  }}
  {more}
}}
"""
_TLS = """
  server {{
    listen 127.0.0.1:{port} ssl; root {root};
    ssl_certificate {chain}; ssl_certificate_key {key};
  }}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    """nginx over `root`, with an access log; skips the test where there is no nginx.

    `chains` are pairs of PEM files (certificate chain, key); each gets a TLS port of its own.
    """

    def __init__(self, home: Path, root: Path, chains=()) -> None:
        if NGINX is None:
            pytest.skip("nginx is not installed (Debian: apt install nginx-light)")
        self.root, self.log, self.marks = root, home / "access.log", 0
        port, tls_ports = free_port(), [free_port() for _ in chains]
        more = "".join(
            _TLS.format(port=p, root=root, chain=chain, key=key)
            for p, (chain, key) in zip(tls_ports, chains)
        )
        config = home / "nginx.conf"
        config.write_text(_CONFIG.format(home=home, root=root, port=port, more=more))
        self.process = subprocess.Popen([NGINX, "-p", str(home), "-c", str(config), "-e", "stderr"])
        self.url = f"http://127.0.0.1:{port}"
        self.tls = [f"https://127.0.0.1:{p}" for p in tls_ports]
        for p in (port, *tls_ports):
            wait_for(lambda p=p: self._answers(p), "nginx does not start")

    def _answers(self, port: int) -> bool:
        assert self.process.poll() is None, "nginx ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def served(self, since: int = 0) -> list[tuple[int, int, str]]:
        """(status, bytes, path) of the requests after the first `since`."""
        # A line is written after the last byte is sent, but before the next request is answered.
        self.marks += 1
        mark = f"/mark-{self.marks}"
        with requests.get(self.url + mark) as reply:
            assert reply.status_code == 404
        wait_for(lambda: mark in self.log.read_text(), "nginx does not log")
        lines = (line.split() for line in self.log.read_text().splitlines())
        seen = [(int(word[0]), int(word[1]), word[2]) for word in lines]
        return [line for line in seen if not line[2].startswith("/mark-")][since:]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def wait_for(condition, message: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.02)


class FaultyServer:
    """A server of `files` (name → bytes) whose `fault` is switched while it runs.

    `None` answers as it should. `cut` closes every connection after 50,000 bytes of the body, and
    `stuck` never sends more than the first 100,000 of the file. `short` announces half of what was
    asked for, `shifted` sends other bytes than asked for, `turns_whole` ignores ranges beyond the
    first 1,024 bytes, `no_ranges_cut` knows no ranges and always cuts, `page` answers everything
    but the start with a web page, `busy` says 503 three times first.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.fault, self.requests = files, None, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler) -> None:
        data, fault = self.files[handler.path.lstrip("/")], self.fault
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        self.requests.append(match and match[0])
        start, stop = (int(match[1]), int(match[2]) + 1) if match else (0, len(data))
        first = start == 0 and stop <= 1024
        if fault == "busy" and len(self.requests) <= 3:
            return self.send(handler, 503, b"", {"Content-Length": "0"})
        if fault == "page" and not first:
            return self.send(handler, 200, b"<!DOCTYPE html> Quota!", {"Content-Type": "text/html"})
        if not match or fault == "no_ranges_cut" or (fault == "turns_whole" and not first):
            end = 60_000 if fault == "no_ranges_cut" else len(data)
            return self.send(handler, 200, data[:end], {"Content-Length": str(len(data))})
        stop = min(stop, len(data))
        length, body = stop - start, data[start:stop]
        if fault == "short" and not first:
            length //= 2
            body = body[:length]
        if fault == "shifted" and not first:
            start, stop = start + 1, stop + 1
        if fault == "cut":
            body = body[:50_000]
        if fault == "stuck":
            body = data[start : min(stop, 100_000)]
        headers = {
            "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}",
            "Content-Length": str(length),
        }
        self.send(handler, 206, body, headers)

    def send(self, handler, status: int, body: bytes, headers: dict) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            handler.wfile.write(body)
        except OSError:  # the client has heard enough
            pass

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Killer:
    """Runs functions of a module in child processes and kills them with SIGKILL at will.

    One process imports everything once and forks for each run, so 50 runs cost no 50 imports.
    """

    _CODE = (
        "import sys, os, json, importlib, time\n"
        "module = importlib.import_module(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    name, arguments, seconds = json.loads(line)\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            getattr(module, name)(*arguments)\n"
        "            os._exit(0)\n"
        "        finally:\n"
        "            os._exit(1)\n"
        "    end, done = time.monotonic() + seconds, (0, 0)\n"
        "    while not done[0] and time.monotonic() < end:\n"
        "        time.sleep(0.002)\n"
        "        done = os.waitpid(child, os.WNOHANG)\n"
        "    if not done[0]:\n"
        "        os.kill(child, 9)\n"
        "        done = os.waitpid(child, 0)\n"
        "    print(done[1], flush=True)\n"
    )

    def __init__(self, module: str) -> None:
        paths = [str(REPO), str(REPO / "tests")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", self._CODE, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, name: str, arguments: list[str], seconds: float) -> bool:
        """Run, kill after `seconds`; whether it had ended by itself (it must end well)."""
        print(json.dumps([name, arguments, seconds]), file=self.process.stdin, flush=True)
        status = int(self.process.stdout.readline())
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0
        return not killed

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


def download_in_parts(url: str, path: str) -> None:
    """For `Killer`: a whole file, in many small parts."""
    download(probe(url), Path(path), Line(3), part=100_000, progress=False)


def clips_in_spans(url: str, folder: str, classes: list[str]) -> None:
    """For `Killer`: clips out of a remote zip, in many small spans."""
    remote = probe(url)
    clips = ClipFolder(Path(folder), classes)
    plan = make_plan(remote, read_directory(remote), clips, part=200_000)
    assert not fetch_members(plan, clips, Line(3), progress=False)

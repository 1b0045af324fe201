"""One file on a web server: what it is, its bytes, and each failure in plain words."""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

CHUNK = 1 << 14  # a cut loses the chunk that it hits, so chunks are small
_TIMEOUT = (15, 20)  # seconds without a connection, seconds without a byte
# Compressed on the way, a byte range would mean other bytes than those of the file.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "two-stream-course"}
_MAGIC = {b"PK\3\4": "zip", b"PK\5\6": "zip", b"Rar!\x1a\7": "rar", b"\x1f\x8b": "tar"}


class FetchError(RuntimeError):
    """Something could not be had; the message says what, where and what to do."""


class CutError(FetchError):
    """The connection failed or ended early: the same request may go well the next time."""


class NoRangesError(FetchError):
    """The server sends whole files only."""


@dataclass(frozen=True)
class Remote:
    """A file on a web server, as it was when asked for.

    Attributes:
        url: its address.
        size: bytes, None where the server does not say.
        ranges: whether the server sends byte ranges.
        tag: eight hex digits that change when address, size or the server's own mark of the
            version change; unfinished files bear it, so that no two versions are ever mixed.
        kind: "zip", "rar", "tar" (packed or not) by the first bytes, "" for anything else.
    """

    url: str
    size: int | None
    ranges: bool
    tag: str
    kind: str

    @property
    def name(self) -> str:
        """Last part of the address, for naming a file."""
        return re.sub(r"[^\w.-]", "_", urlsplit(self.url).path.rsplit("/", 1)[-1]) or "download"


def archive_kind(head: bytes) -> str:
    """ "zip", "rar", "tar" or "" by a file's first 512 bytes or more, whatever its name says."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" else ""


def probe(url: str, tries: int = 3, pause: float = 1.0) -> Remote:
    """Ask for the first bytes of `url`: is it there, how large, what is it, does it take ranges?

    Raises:
        FetchError: not there, a web page, an untrusted certificate, no answer after `tries`
            with `pause` seconds between them.
    """
    for left in reversed(range(tries)):
        try:
            return _probe(url)
        except CutError:
            if not left:
                raise
            time.sleep(pause)
    raise ValueError("tries must be 1 or more")


def _probe(url: str) -> Remote:
    with _get(url, "bytes=0-1023") as reply:
        if reply.status_code == 416:
            raise FetchError(f"{url} is an empty file")
        head = b""
        for chunk in reply.iter_content(1024):
            head += chunk
            if len(head) >= 1024:
                break
        _refuse_web_page(url, reply, head)
        ranges = reply.status_code == 206
        size = _total(reply) if ranges else reply.headers.get("Content-Length")
        mark = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
    tag = hashlib.sha256(f"{url} {size} {mark}".encode()).hexdigest()[:8]
    known = size is not None
    return Remote(url, int(size) if known else None, ranges and known, tag, archive_kind(head))


def read_range(remote: Remote, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of `remote` from `start` up to, not including, `stop`, in chunks.

    Raises:
        NoRangesError: the server answers with the whole file.
        CutError: the connection failed on the way; what was yielded is right.
        FetchError: other bytes than those asked for, or none.
    """
    with _get(remote.url, f"bytes={start}-{stop - 1}") as reply:
        if reply.status_code == 416:
            raise FetchError(
                f"{remote.url} has no bytes from {start:,} on any more (HTTP 416): the file there "
                "was replaced by a shorter one. The same command starts anew with the new file"
            )
        chunks = reply.iter_content(CHUNK)
        first = next(chunks, b"")
        _refuse_web_page(remote.url, reply, first)
        if reply.status_code != 206:
            raise NoRangesError(
                f"{remote.url}: the server ignored the byte range and sent the whole file. It "
                "cannot be read in parts nor continued after a cut"
            )
        answered = reply.headers.get("Content-Range", "")
        if not re.fullmatch(rf"bytes {start}-{stop - 1}/(?:{remote.size}|\*)", answered):
            raise FetchError(
                f"{remote.url}: asked for bytes {start}-{stop - 1}/{remote.size}, the server "
                f"answered {answered!r}. Either the file there has changed, then the same "
                "command starts anew, or a proxy on the way is at fault: try another network"
            )
        left = stop - start
        while first:
            yield first[:left]
            left -= len(first)
            first = next(chunks, b"") if left > 0 else b""
        if left > 0:
            raise CutError(f"{remote.url}: the answer ended {left:,} bytes early")


def read_whole(remote: Remote) -> Iterator[bytes]:
    """All bytes of `remote` in chunks; the size is checked where the server told it.

    Raises:
        CutError: the connection failed on the way, or the body ended early.
    """
    with _get(remote.url, None) as reply:
        count = 0
        for chunk in reply.iter_content(CHUNK):
            if not count:
                _refuse_web_page(remote.url, reply, chunk)
            count += len(chunk)
            yield chunk
    if remote.size is not None and count != remote.size:
        raise CutError(f"{remote.url}: {count:,} of {remote.size:,} bytes arrived")


@contextlib.contextmanager
def _get(url: str, byte_range: str | None) -> Iterator[requests.Response]:
    headers = _HEADERS | ({"Range": byte_range} if byte_range else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as reply:
            _check_status(url, reply.status_code)
            yield reply
    except requests.exceptions.RequestException as error:
        if certificate := _cause(error, ssl.SSLCertVerificationError):
            raise FetchError(_certificate_message(url, certificate)) from error
        # The types for a lost connection; an address that is none will not mend itself.
        lost = (
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            requests.exceptions.ChunkedEncodingError,
        )
        if isinstance(error, lost):
            raise CutError(f"{url}: {_lost_message(url, error)}") from error
        raise FetchError(f"{url} cannot be asked for: {error}") from error


def _check_status(url: str, status: int) -> None:
    if status in (200, 206, 416):
        return
    if status in (404, 410):
        raise FetchError(f"{url} is not there any more (HTTP {status}): the address is dead")
    if status in (401, 403):
        raise FetchError(
            f"{url} is not open to everybody (HTTP {status}): get the file in a browser and give "
            "its path"
        )
    if status == 429 or status >= 500:
        raise CutError(f"{url}: the server is busy or out of order (HTTP {status}); try later")
    raise FetchError(f"{url}: the server answered HTTP {status}")


def _refuse_web_page(url: str, reply: requests.Response, head: bytes) -> None:
    kind = reply.headers.get("Content-Type", "").lower()
    start = head.lstrip()[:14].lower()
    if kind.startswith("text/html") or start.startswith((b"<!doctype html", b"<html")):
        raise FetchError(
            f"{url} gives a web page, not an archive: a notice, a login or a question. Open the "
            "address in a browser, get the file there and give its path"
        )


def _total(reply: requests.Response) -> str | None:
    match = re.fullmatch(r"bytes 0-\d+/(\d+)", reply.headers.get("Content-Range", ""))
    return match[1] if match else None


def _lost_message(url: str, error: Exception) -> str:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"{urlsplit(url).hostname} does not answer"
    if isinstance(error, requests.exceptions.Timeout) or "Read timed out" in str(error):
        return f"nothing came for {_TIMEOUT[1]} seconds"
    if "NameResolutionError" in str(error) or "getaddrinfo" in str(error):
        return f"no such server as {urlsplit(url).hostname}, or this machine is not online"
    if "NewConnectionError" in str(error):
        return f"{urlsplit(url).hostname} refuses the connection"
    return "the connection was cut"


def _cause(error: BaseException | None, kind: type) -> BaseException | None:
    """The first of `kind` among what led to `error`; urllib3 keeps some in `reason` or `args`."""
    queue, seen = [error], set()
    while queue:
        error = queue.pop()
        if isinstance(error, kind):
            return error
        if isinstance(error, BaseException) and id(error) not in seen:
            seen.add(id(error))
            queue += [error.__cause__, error.__context__, getattr(error, "reason", None)]
            queue += error.args
    return None


def _certificate_message(url: str, error: ssl.SSLCertVerificationError) -> str:
    host = urlsplit(url).hostname
    browser = (
        "Verification stays on. The safe way round: get the file in a browser, which checks the "
        "certificate too, and give its path"
    )
    if error.verify_code == 10:
        return (
            f"{host}: the certificate has expired. Is the clock of this machine right? Otherwise "
            f"its owner has to renew it. {browser}"
        )
    if error.verify_code in (20, 21):
        return (
            f"{host} sends an incomplete chain of certificates: the one that signed its own is "
            f"missing. {browser}. Or save the missing intermediate certificate (the browser's "
            "padlock shows and exports it, as PEM), append it to a copy of the file that "
            "`python -m certifi` prints, and set REQUESTS_CA_BUNDLE to that copy"
        )
    return f"{host}: the certificate is not to be trusted ({error.verify_message}). {browser}"

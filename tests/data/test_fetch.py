"""Videos over the network: whatever goes wrong is said plainly, and no clip is lost or half."""

from __future__ import annotations

import datetime
import functools
import io
import itertools
import os
import random
import shutil
import signal
import tarfile
import threading
import time
import zipfile
import zlib
from pathlib import Path

import fetch_ucf101
import numpy as np
import pytest
import trustme
from conftest import largest_file
from servers import FaultyServer, Nginx, wait_for

from twostream_utils.data import fetch as fetching
from twostream_utils.data.fetch import UCF101, WEIZMANN, FetchError, fetch

CLASSES = ("ApplyEyeMakeup", "Archery", "HandstandPushups", "JumpRope", "YoYo")


def clip_name(label: str, number: int) -> str:
    spelling = "HandStandPushups" if label == "HandstandPushups" else label
    return f"v_{spelling}_g{number:02d}_c01.avi"


def clip_bytes(label: str, number: int) -> bytes:
    """100 to 200 KB, some of it compressible."""
    seed = CLASSES.index(label) * 100 + number
    return np.random.default_rng(seed).bytes(100_000 + 2_000 * seed % 100_000) + bytes(5_000)


@functools.cache
def ucf_zip(labels=CLASSES, per_class: int = 8, form: str = "UCF-101/{label}/{name}") -> bytes:
    """A zip in the layout of UCF-101.zip, every other member deflated, with strays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("UCF-101/", b"")
        file.writestr("UCF-101/readme.txt", b"not a clip")
        for label in labels:
            for number in range(1, per_class + 1):
                name = form.format(label=label, name=clip_name(label, number))
                packing = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                file.writestr(name, clip_bytes(label, number), packing)
    return buffer.getvalue()


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def rar_of(files: dict[str, bytes]) -> bytes:
    """A rar of version 4 with stored members, after the published description of the format."""

    def block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
        head = bytes([kind]) + flags.to_bytes(2, "little")
        head += (7 + len(body)).to_bytes(2, "little") + body
        return (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") + head + data

    out = b"Rar!\x1a\7\0" + block(0x73, 0, bytes(6))
    for name, data in files.items():
        size, path = len(data).to_bytes(4, "little"), name.replace("/", "\\").encode()
        body = size + size + b"\3" + zlib.crc32(data).to_bytes(4, "little") + bytes(4)
        body += b"\x14\x30" + len(path).to_bytes(2, "little") + (0o100644).to_bytes(4, "little")
        out += block(0x74, 0x8000, body + path, data)
    return out + block(0x7B, 0x4000, b"")


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.avi")}


def expected(*labels: str, per_class: int = 8) -> dict[str, bytes]:
    clips = itertools.product(labels, range(1, per_class + 1))
    return {f"{label}/{clip_name(label, k)}": clip_bytes(label, k) for label, k in clips}


def nothing_half(folder: Path) -> bool:
    return not [*folder.rglob("*.partial"), *folder.rglob(".unpacked-*")]


def get(source, folder: Path, *labels: str, **options) -> list:
    return fetch(UCF101, folder, labels or CLASSES, source, progress=False, **options)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The archives here are small, so requests are, and nobody waits for long."""
    for name, value in dict(DIRECTORY=10_000, RUN=500_000, TIMEOUT=(2, 0.5), TRIES=3).items():
        monkeypatch.setattr(fetching, name, value)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    root = tmp_path_factory.mktemp("www")
    (root / "UCF-101.zip").write_bytes(ucf_zip())
    (root / "few.zip").write_bytes(ucf_zip(per_class=4))
    server = Nginx(tmp_path_factory.mktemp("nginx"), root)
    yield server
    server.close()


@pytest.fixture
def faulty():
    server = FaultyServer(ucf_zip())
    yield server
    server.close()


def test_only_the_wanted_classes_cross_the_network(nginx, tmp_path, monkeypatch):
    url, labels = nginx.url + "/UCF-101.zip", ("HandstandPushups", "YoYo")
    wanted, size = sum(map(len, expected(*labels).values())), len(ucf_zip())
    (plan,) = get(url, tmp_path / "videos", *labels, dry_run=True)
    assert (plan.clips, plan.present, plan.room) == (16, 0, wanted)
    assert 0.9 * wanted < plan.download < wanted and plan.free > 0
    assert not (tmp_path / "videos").exists() and len(nginx.served()) == 1
    monkeypatch.setattr(fetching, "RUN", 10_000_000)  # consecutive clips are one request
    before = len(nginx.served())
    assert get(url, tmp_path / "videos", *labels, connections=2)[0][:5] == plan[:5]
    assert files_in(tmp_path / "videos") == expected(*labels) and nothing_half(tmp_path)
    served = nginx.served(before)
    # The directory once or twice more: on a busy machine one thread takes all there is to do.
    assert len(served) in (4, 5) and all(status == 206 for status, *_ in served)
    assert plan.download <= sum(n for _, n, _ in served) < plan.download + 40_000 < 0.6 * size
    before = len(nginx.served())
    get(url, tmp_path / "videos", *labels)
    assert len(nginx.served(before)) == 1, "clips were fetched twice"
    whole = UCF101._replace(clips=dict.fromkeys(CLASSES, 8))  # all that there is of them
    fetch(whole, tmp_path / "videos", labels, url)
    assert len(nginx.served(before)) == 1, "a server was asked for nothing"


@pytest.mark.parametrize("fault", ["cut", "busy"])
def test_a_flaky_server_gives_every_clip(faulty, tmp_path, fault, monkeypatch):
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    monkeypatch.setattr(fetching, "TRIES", 8)  # as it is
    faulty.fault = fault
    get(faulty.url, tmp_path)
    assert files_in(tmp_path) == expected(*CLASSES) and nothing_half(tmp_path)


@pytest.mark.parametrize(
    "fault, words",
    [
        ("cut_all", "UCF-101.zip: the connection was cut, 3 times"),
        ("stall", "UCF-101.zip: nothing came for too long, 3 times"),
        ("page", "UCF-101.zip is a web page, not an archive: .* give its path"),
        ("shifted", "UCF-101.zip: 40 damaged clips were left out: v_.*same call goes on"),
        ("whole_cut", "UCF-101.zip: the connection was cut, 3 times"),
    ],
)
def test_a_fault_is_named_and_the_next_call_goes_on(faulty, tmp_path, fault, words, monkeypatch):
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    faulty.fault = fault
    with pytest.raises(FetchError, match=words):
        get(faulty.url, tmp_path)
    assert files_in(tmp_path).items() <= expected(*CLASSES).items() and nothing_half(tmp_path)
    faulty.fault = None
    get(faulty.url, tmp_path)
    assert files_in(tmp_path) == expected(*CLASSES) and nothing_half(tmp_path)


@pytest.mark.parametrize("mark", ["size", "ETag"])
def test_a_file_that_changes_under_way_is_never_mixed(faulty, tmp_path, mark, monkeypatch):
    """Either mark tells; the next call makes the folder that of the new file."""
    answer, whole = faulty.answer, expected("JumpRope", "YoYo")
    new = ucf_zip(per_class=7) if mark == "size" else faulty.data

    def change(handler):
        answer(handler)
        if len(faulty.requests) == 4:
            faulty.data, faulty.etag = new, faulty.etag if mark == "size" else '"2"'

    monkeypatch.setattr(faulty, "answer", change)
    with pytest.raises(FetchError, match="UCF-101.zip has just been replaced by another file"):
        get(faulty.url, tmp_path, "JumpRope", "YoYo", connections=1)
    assert files_in(tmp_path).items() <= whole.items() and nothing_half(tmp_path)
    get(faulty.url, tmp_path, "JumpRope", "YoYo")
    assert files_in(tmp_path).items() >= expected("YoYo", "JumpRope", per_class=7).items()


def test_server_without_ranges_gives_the_whole_archive_once(nginx, faulty, tmp_path, capsys):
    url = nginx.url + "/whole/UCF-101.zip"
    (plan,) = get(url, tmp_path / "a", "YoYo", dry_run=True)
    assert plan.download == len(ucf_zip()) and not (tmp_path / "a").exists()
    get(url, tmp_path / "a", "YoYo")
    assert "UCF_101.zip is whole; delete it once" in capsys.readouterr().out
    before = len(nginx.served())
    get(url, tmp_path / "a", "Archery")
    assert files_in(tmp_path / "a") == expected("YoYo", "Archery") and not nginx.served(before)
    tar_of(nginx.root / "videos.tar.gz", expected("YoYo"), "w:gz")  # no zip: whole, too
    get(nginx.url + "/videos.tar.gz", tmp_path / "b", "YoYo")
    assert files_in(tmp_path / "b") == expected("YoYo") and nothing_half(tmp_path)


def test_dead_addresses_and_what_is_no_archive(nginx, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    (nginx.root / "login.zip").write_text("\n<HTML><title>Log in</title></HTML>")
    (nginx.root / "cut.zip").write_bytes(ucf_zip()[:-5_000])
    for name, at, value in ("torn", 0, b"PK??"), ("newer", 10, b"\x09"), ("locked", 8, b"\1"):
        entries = ucf_zip(("YoYo",)).split(b"PK\1\2")  # of the directory
        entries[1:] = [(e := bytearray(b"PK\1\2" + entry)) and e for entry in entries[1:]]
        for entry in entries[1:]:
            entry[at : at + len(value)] = value
        (nginx.root / f"{name}.zip").write_bytes(b"".join(entries))
    cases = {
        nginx.url + "/gone.zip": "gone.zip answers HTTP 404 Not Found: download the file in a",
        nginx.url + "/login.zip": "(?s)login.zip is no whole zip or tar.*a web page: delete it",
        nginx.url + "/cut.zip": "(?s)cut.zip is no whole zip or tar.*get it again",
        "http://127.0.0.1:9/x.zip": "x.zip: .* refused.*, 3 times",
        nginx.root / "cut.zip": "cut.zip is no whole zip",
        nginx.root / "torn.zip": "torn.zip is no whole zip",
        nginx.url + "/torn.zip": "torn.zip is no whole zip",
        nginx.root / "newer.zip": "8 damaged clips were left out: .*compression method",
        nginx.root / "locked.zip": "8 damaged clips were left out: .*encrypted",
        nginx.root / "nowhere.zip": "No such file or directory: .*nowhere.zip",
    }
    for source, words in cases.items():
        with pytest.raises(FetchError, match=words):
            get(source, tmp_path, "YoYo")
    assert files_in(tmp_path) == {} and nothing_half(tmp_path)


def test_certificates_are_checked_and_the_fault_is_named(tmp_path, monkeypatch):
    authority = trustme.CA()
    middle = authority.create_child_ca()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    good = middle.issue_cert("127.0.0.1")
    expired = authority.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(year=2021))
    chains = []
    for name, leaf, length in (("good", good, 9), ("incomplete", good, 1), ("expired", expired, 9)):
        chain, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems[:length]))
        key.write_bytes(leaf.private_key_pem.bytes())
        chains.append((chain, key))
    root, out, bundle = tmp_path / "www", tmp_path / "out", tmp_path / "bundle.pem"
    root.mkdir()
    (root / "UCF-101.zip").write_bytes(ucf_zip(("YoYo",), 1))
    bundle.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    server = Nginx(tmp_path, root, chains)
    try:
        whole, incomplete, late = (f"{url}/UCF-101.zip" for url in server.tls)
        with pytest.raises(FetchError, match="certificate has expired .*clock.*give its path"):
            get(late, out, "YoYo")
        with pytest.raises(FetchError, match="incomplete chain of certificates. Verif"):
            get(incomplete, out, "YoYo")
        get(whole, out, "YoYo")
        assert files_in(out) == expected("YoYo", per_class=1)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(FetchError, match="Verification stays on"):  # nobody we know signed it
            get(whole, tmp_path / "other", "YoYo")
    finally:
        server.close()


def child(url: str, folder: Path, *labels: str) -> int:
    """Fetch in a process of its own, in short runs, so that there is much to break off."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    if not (number := os.fork()):
        fetching.RUN = 200_000
        fetching.tqdm.set_lock(threading.RLock())  # its own outlives a killed child, locked
        try:
            get(url, folder, *labels, connections=2)
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    return number


def test_killed_15_times_and_continued(nginx, tmp_path):
    url, labels = nginx.url + "/throttled/few.zip", ("HandstandPushups", "YoYo")
    rng, whole = random.Random(2), expected(*labels, per_class=4)
    kills, rounds, status = 0, 0, None
    while kills < 15 or status != 0:
        folder = tmp_path / str(rounds)
        number = child(url, folder, *labels)
        if kills < 15:  # the last one is left to end
            time.sleep(rng.uniform(0.01, 0.3))
            os.kill(number, signal.SIGKILL)
        status = os.waitpid(number, 0)[1]
        there = files_in(folder)
        assert there.items() <= whole.items(), "a half clip has a final name"
        assert status or (there == whole and nothing_half(folder))
        kills, rounds = kills + (status != 0), rounds + (status == 0)


def test_ctrl_c_and_two_calls_at_once(nginx, tmp_path, capfd):
    url = nginx.url + "/throttled/UCF-101.zip"
    number = child(url, tmp_path, "YoYo")
    wait_for(lambda: files_in(tmp_path), "nothing comes", 30)
    os.kill(number, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 130
    assert "Stopped. Clips that are here are whole, and the same" in capfd.readouterr().out
    there, before = files_in(tmp_path), len(nginx.served())
    assert 0 < len(there) < 8 and nothing_half(tmp_path)
    both = [child(url, tmp_path, "YoYo") for _ in range(2)]
    assert [os.waitpid(number, 0)[1] for number in both] == [0, 0]
    said = capfd.readouterr().out
    assert said.count("8 clips, 8 of them here already") == said.count("waiting for it") == 1
    assert files_in(tmp_path) == expected("YoYo") and nothing_half(tmp_path)
    missing = expected("YoYo").items() - there.items()
    served = sum(count for _, count, _ in nginx.served(before))
    assert served < sum(len(data) for _, data in missing) + 60_000


def test_damaged_clip_is_left_out_named_and_mended_by_the_next_call(nginx, tmp_path):
    data = bytearray(ucf_zip())
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for number in (2, 3):  # one stored, one deflated
            info = file.getinfo(f"UCF-101/YoYo/{clip_name('YoYo', number)}")
            data[info.header_offset + 5_000] ^= 1
    (nginx.root / "bad.zip").write_bytes(data)
    for source in nginx.url + "/bad.zip", nginx.root / "bad.zip":
        out = tmp_path / str(len(str(source)))
        with pytest.raises(FetchError, match="2 damaged clips were left out: v_YoYo_g02.*_g03_"):
            get(source, out, "YoYo")
        assert len(files_in(out)) == 6 and files_in(out).items() <= expected("YoYo").items()
        (plan,) = get(nginx.url + "/moved/UCF-101.zip", out, "YoYo")  # by a redirect
        assert plan.present == 6 and files_in(out) == expected("YoYo") and nothing_half(out)


def test_too_little_room_is_said_before_anything_is_fetched(nginx, tmp_path, monkeypatch):
    usage, before = shutil.disk_usage(tmp_path)._replace(free=1_000), len(nginx.served())
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage)
    for source in ("/UCF-101.zip", "/whole/UCF-101.zip"):
        with pytest.raises(FetchError, match="no room left in .*of room needed, 1.00kB free"):
            get(nginx.url + source, tmp_path, "YoYo")
    assert files_in(tmp_path) == {} and len(nginx.served(before)) == 2


def test_full_disk_keeps_what_came(nginx, tmp_path):
    words = "File too large.*the same call goes on"
    with largest_file(120_000), pytest.raises(FetchError, match=words):
        get(nginx.url + "/UCF-101.zip", tmp_path)
    assert files_in(tmp_path).items() <= expected(*CLASSES).items() and nothing_half(tmp_path)
    get(nginx.url + "/UCF-101.zip", tmp_path)
    assert files_in(tmp_path) == expected(*CLASSES)


EVIL = (
    "../../v_YoYo_g01_c01.avi",
    "/etc/v_YoYo_g02_c01.avi",
    "UCF-101/YoYo/../../../v_YoYo_g03_c01.avi",
    "UCF-101/YoYo/..\\..\\v_YoYo_g04_c01.avi",
    "C:\\YoYo\\v_YoYo_g05_c01.avi",
    "UCF-101/YoYo/v_..\\YoYo_g06_c01.avi",
    "UCF-101/../YoYo/evil.avi",
)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "rar"])
def test_no_name_in_an_archive_leads_out_of_the_folder(nginx, tmp_path, kind):
    path = nginx.root / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in EVIL:
                file.writestr(name, b"evil")
    elif kind == "rar":
        path.write_bytes(rar_of(dict.fromkeys(EVIL, b"evil")))
    else:
        tar_of(path, dict.fromkeys(EVIL, b"evil"), "w:gz")
    for number, source in enumerate((path, f"{nginx.url}/evil.{kind}")):
        inside = tmp_path / str(number) / "a" / "b" / "videos"
        try:
            get(source, inside, "YoYo")
        except FetchError:  # refused as a whole
            assert kind != "zip"
        allowed = {f"YoYo/v_YoYo_g0{clip}_c01.avi" for clip in range(1, 6)}
        assert set(files_in(inside)) <= allowed and (kind != "zip" or len(files_in(inside)) == 5)
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and "videos" not in p.parts]
    assert outside == [] and not list(Path("/etc").glob("v_YoYo*"))


@pytest.mark.parametrize("kind", ["zip", "backslashes", "flat", "tar", "folder"])
def test_archives_and_folders_of_this_disk(tmp_path, kind, monkeypatch):
    source = tmp_path / "UCF101_subset.tar.gz"  # the real one is not packed in spite of its name
    forms = {"backslashes": "UCF-101\\{label}\\{name}", "flat": "UCF101/{name}"}
    if kind == "tar":
        tar_of(source, {f"x/{name}": data for name, data in expected(*CLASSES).items()})
    elif kind == "folder":
        for name, data in expected(*CLASSES).items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
    else:
        source.write_bytes(ucf_zip(form=forms.get(kind, "UCF-101/{label}/{name}")))
    out = tmp_path / "out"
    (plan,) = get(source, out, "HandstandPushups", dry_run=True)
    assert not out.exists() and plan.download == 0 and plan.room >= 8 * 100_000
    get(source, out, "HandstandPushups")
    assert files_in(out) == expected("HandstandPushups") and nothing_half(out)
    with pytest.raises(FetchError, match="no source gave all clips of Biking"):
        get(source, out, "HandstandPushups", "Biking")
    if kind == "tar":
        os.truncate(source, 500_000)
        with pytest.raises(FetchError, match="no whole zip or tar"):
            get(source, tmp_path / "cut", "YoYo")
        assert files_in(tmp_path / "cut") == {} and nothing_half(tmp_path)
        monkeypatch.delattr(tarfile, "data_filter")  # the last 3.10 that installs on Windows
        with pytest.raises(FetchError, match="Python 3.10.12, 3.11.4 or newer is needed"):
            get(source, tmp_path / "cut", "YoYo")


@pytest.mark.parametrize("tool", ["unrar", "unar", "bsdtar", "7zz", "7z", None])
def test_rar_through_each_program_or_none(tmp_path, monkeypatch, tool):
    program = shutil.which(tool) if tool else ""
    if program is None:
        pytest.skip(f"no {tool} here")
    rar, out = tmp_path / "UCF101.rar", tmp_path / "my videos"
    rar.write_bytes(rar_of({"UCF-101/readme.txt": b"not a clip", **expected(*CLASSES[2:])}))
    (tmp_path / "bin").mkdir()
    if tool:
        (tmp_path / "bin" / tool).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if not tool:
        with pytest.raises(FetchError, match="no program here reads a rar.*install unar, or"):
            get(rar, out, "YoYo")
        return
    get(rar, out, "HandstandPushups")
    assert files_in(out) == expected("HandstandPushups") and nothing_half(tmp_path)
    rar.write_bytes(rar.read_bytes()[:1_500_000])
    with pytest.raises(FetchError, match=f"no whole zip or tar, and {tool} says: "):
        get(rar, tmp_path / "cut", "YoYo")
    assert files_in(tmp_path / "cut") == {} and nothing_half(tmp_path)


def test_command_tries_sources_in_turn_and_explains(nginx, tmp_path, monkeypatch, capsys):
    sources = {name: f"{nginx.url}/{name}.zip" for name in ("gone", "Archery", "UCF-101")}
    main = functools.partial(fetch_ucf101.main, videos=UCF101._replace(sources=sources))
    out = tmp_path / "my videos"
    words = ["--out", str(out), "--classes", "HandStandPushups", "YoYo"]
    assert main([*words, "--dry-run"]) == 0 and not out.exists()
    assert main(words) == 0 and files_in(out) == expected("HandstandPushups", "YoYo")
    said = capsys.readouterr().out
    assert "did not work: " in said and "HTTP 404" in said and "Archery.zip" not in said
    assert "16 clips, 0 of them" in said and f"extract.py '{out}'" in said.splitlines()[-1]
    assert said.endswith("data/ucf101 --short-side 256 --flow dis --every 2\n")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "{ucf10,ucf20,ucf101,paper}" in capsys.readouterr().out
    assert main([*words, "--source", "gone"]) == 2
    assert "no source gave all clips of HandstandPushups, YoYo" in capsys.readouterr().err
    assert main(["--classes", "Yoyo"]) == 2 and "no class Yoyo; there" in capsys.readouterr().err


def test_weizmann_is_ten_zips(nginx, tmp_path, capsys):
    sources = {action: f"{nginx.url}/{action}.zip" for action in WEIZMANN.sources}
    for action, url in WEIZMANN.sources.items():
        assert url.startswith("https://") and url.endswith(f"/{action}.zip")
        with zipfile.ZipFile(nginx.root / f"{action}.zip", "w") as file:
            for name in ("ido_", "lena_") if action != "walk" else ("ido_", "lena_1", "lena_2"):
                person, take = name.split("_")
                file.writestr(f"{person}_{action}{take}.avi", f"{person}{take}" * 9_000)
    videos = WEIZMANN._replace(sources=sources)
    fetch_ucf101.main(["--out", str(tmp_path)], "", videos, "weizmann")
    there = files_in(tmp_path)
    assert len(there) == 20 and there["walk/lena_walk.avi"] == b"lena1" * 9_000
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.endswith("--short-side 80 --flow dis_small --group-pattern '^([a-z]+)_'")

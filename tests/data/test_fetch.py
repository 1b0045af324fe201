"""Videos over the network: whatever goes wrong is said plainly, and nothing is lost or half."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import fetch_ucf101
import fetch_weizmann
import numpy as np
import pytest
import trustme
from servers import REPO, FaultyServer, Killer, Nginx

from twostream_utils.data import download as downloads
from twostream_utils.data import unpack as unpacking
from twostream_utils.data.clip_folder import ClipFolder, ucf101_place, weizmann_place
from twostream_utils.data.download import Line, NoRoomError, arrived, download, part_file
from twostream_utils.data.fetch import Job, fetch
from twostream_utils.data.remote_zip import fetch_members, make_plan, read_directory
from twostream_utils.data.web import CutError, FetchError, NoRangesError, probe
from twostream_utils.profiles import get_profile

MEGABYTE = 1_000_000
CLASSES = ("ApplyEyeMakeup", "Archery", "HandstandPushups", "JumpRope", "YoYo")


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def clip_name(label: str, number: int) -> str:
    spelling = "HandStandPushups" if label == "HandstandPushups" else label
    return f"v_{spelling}_g{number:02d}_c01.avi"


def clip_bytes(label: str, number: int) -> bytes:
    """What the clip in the archives below holds: 100 to 200 KB, some of it compressible."""
    seed = CLASSES.index(label) * 100 + number
    return noise(100_000 + 2_000 * seed % 100_000, seed) + bytes(5_000)


def ucf_zip(labels=CLASSES, per_class: int = 8, folders: bool = True) -> bytes:
    """A zip in the layout of UCF-101.zip, every other member deflated, with strays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("UCF-101/", b"")
        file.writestr("UCF-101/readme.txt", b"not a clip")
        for label in labels:
            for number in range(1, per_class + 1):
                name = clip_name(label, number)
                name = f"UCF-101/{label}/{name}" if folders else f"UCF101/{name}"
                packing = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                file.writestr(name, clip_bytes(label, number), packing)
    return buffer.getvalue()


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.avi")}


def expected(*labels: str, per_class: int = 8) -> dict[str, bytes]:
    return {
        f"{label}/{clip_name(label, number)}": clip_bytes(label, number)
        for label in labels
        for number in range(1, per_class + 1)
    }


def nothing_half(folder: Path) -> bool:
    return not [*folder.rglob("*.partial"), *folder.rglob(".unpacked-*")]


def job(folder: Path, *labels: str, **options) -> Job:
    line = Line(options.pop("connections", 3), options.pop("patience", 1.0))
    clips = ClipFolder(folder / "videos", labels or CLASSES)
    return Job(clips, folder / "archives", progress=False, line=line, **options)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    root = tmp_path_factory.mktemp("www")
    (root / "big.rar").write_bytes(b"Rar!\x1a\7" + noise(3 * MEGABYTE))
    (root / "small.rar").write_bytes(b"Rar!\x1a\7" + noise(MEGABYTE))
    (root / "UCF-101.zip").write_bytes(ucf_zip())
    (root / "few.zip").write_bytes(ucf_zip(per_class=4))
    (root / "flat.zip").write_bytes(ucf_zip(folders=False))
    server = Nginx(tmp_path_factory.mktemp("nginx"), root)
    yield server
    server.close()


@pytest.fixture
def faulty():
    server = FaultyServer({"UCF-101.zip": ucf_zip()})
    yield server
    server.close()


@pytest.fixture(scope="module")
def killer():
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    killer = Killer("servers")
    yield killer
    killer.close()


# A whole file


def test_whole_file_in_parts_over_several_connections(nginx, tmp_path):
    data = (nginx.root / "big.rar").read_bytes()
    before = len(nginx.served())
    path = tmp_path / "sub" / "big.rar"
    remote = probe(nginx.url + "/big.rar")
    assert (remote.size, remote.ranges, remote.kind) == (len(data), True, "rar")
    assert download(remote, path, Line(3), part=500_000, progress=False) == path
    assert path.read_bytes() == data and nothing_half(tmp_path)
    served = nginx.served(before)
    assert len(served) == 1 + 7 and sum(size for _, size, _ in served) == len(data) + 1024
    record = json.loads((tmp_path / "sub" / "big.rar.json").read_text())
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert (record["bytes"], record["url"]) == (len(data), remote.url)
    download(remote, path, progress=False)
    assert len(nginx.served(before)) == len(served), "a whole file was fetched again"


def kept_bytes(path: Path, part: int = 100_000) -> int:
    """Bytes of an unfinished download that the next call will not ask for."""
    if path.exists():
        return path.stat().st_size
    grown = next(path.parent.glob(f"{path.name}.????????.partial"), None)
    whole = grown.stat().st_size // part * part if grown else 0
    rest = 0
    for file in path.parent.glob(f"{path.name}.????????-*.partial"):
        if int(file.name.split("-")[-2]) >= whole:
            rest += file.stat().st_size
    return whole + rest


def test_whole_file_killed_50_times_and_continued(nginx, killer, tmp_path):
    data = (nginx.root / "small.rar").read_bytes()
    url = nginx.url + "/throttled/small.rar"
    rng, kills, rounds, kept = random.Random(1), 0, 0, 0
    while True:
        path = tmp_path / f"{rounds}.rar"
        # The last run is left to end, the others are killed if they do not end before.
        seconds = rng.uniform(0.005, 0.1) if kills < 50 else 60
        ended = killer.run("download_in_parts", [url, str(path)], seconds)
        assert kept_bytes(path) >= kept, "a kill cost bytes that were on the disk"
        kept = kept_bytes(path)
        kills += not ended
        if ended:
            assert path.read_bytes() == data and nothing_half(tmp_path)
            rounds, kept = rounds + 1, 0
            if kills == 50:
                return


def test_cut_connections_are_continued(faulty, tmp_path):
    faulty.fault = "cut"
    path = tmp_path / "x.zip"
    remote = probe(faulty.url + "/UCF-101.zip")
    download(remote, path, Line(2, 5.0), part=4 * MEGABYTE, progress=False)
    assert path.read_bytes() == faulty.files["UCF-101.zip"]
    starts = [int(wanted.split("=")[1].split("-")[0]) for wanted in faulty.requests[1:]]
    assert len(starts) == len(set(starts)) > 80, "bytes were asked for twice"


@pytest.mark.parametrize(
    "fault, kind, words",
    [
        ("stuck", FetchError, "Given up after 1 seconds without a byte"),
        ("shifted", FetchError, "the server answered 'bytes 1-"),
        ("turns_whole", NoRangesError, "ignored the byte range"),
        ("page", FetchError, "a web page, not an archive"),
    ],
)
def test_faults_on_the_way_are_named_and_the_next_call_goes_on(
    faulty, tmp_path, fault, kind, words
):
    path, url = tmp_path / "x.zip", faulty.url + "/UCF-101.zip"
    faulty.fault = fault
    with pytest.raises(kind, match=words):
        download(probe(url), path, Line(1, 1.0), part=4 * MEGABYTE, progress=False)
    assert not path.exists()
    faulty.fault, seen = None, len(faulty.requests)
    download(probe(url), path, Line(1), part=4 * MEGABYTE, progress=False)
    assert path.read_bytes() == faulty.files["UCF-101.zip"] and nothing_half(tmp_path)
    if fault == "stuck":
        assert faulty.requests[seen + 1].startswith("bytes=98304-")  # whole chunks


def test_half_answers_are_completed(faulty, tmp_path):
    faulty.fault = "short"
    path = tmp_path / "x.zip"
    with pytest.raises(FetchError, match="the server answered|ended .* early"):
        download(probe(faulty.url + "/UCF-101.zip"), path, Line(1, 0.5), progress=False)
    assert not path.exists()


def test_busy_server_is_asked_again(faulty):
    faulty.fault = "busy"
    with pytest.raises(CutError, match="busy or out of order .HTTP 503."):
        probe(faulty.url + "/UCF-101.zip", tries=2, pause=0.01)
    assert probe(faulty.url + "/UCF-101.zip", pause=0.01).kind == "zip"


def test_server_that_takes_one_connection_at_a_time(nginx, tmp_path):
    path = tmp_path / "narrow.rar"
    (nginx.root / "narrow.rar").write_bytes(b"Rar!\x1a\7" + noise(800_000))
    remote = probe(nginx.url + "/single/narrow.rar")
    before = len(nginx.served())
    download(remote, path, Line(3, 3.0), part=400_000, progress=False)
    assert path.read_bytes() == (nginx.root / "narrow.rar").read_bytes()
    assert 503 in {status for status, *_ in nginx.served(before)}, "it took them all"


def test_server_without_ranges_gives_whole_files(nginx, faulty, tmp_path):
    remote = probe(nginx.url + "/whole/big.rar")
    assert not remote.ranges
    path = tmp_path / "big.rar"
    download(remote, path, progress=False)
    assert path.read_bytes() == (nginx.root / "big.rar").read_bytes() and nothing_half(tmp_path)
    faulty.fault = "no_ranges_cut"
    with pytest.raises(NoRangesError, match="cannot continue a file, and 3 tries"):
        download(probe(faulty.url + "/UCF-101.zip"), tmp_path / "x.zip", progress=False)
    assert not (tmp_path / "x.zip").exists() and nothing_half(tmp_path)


def test_shorter_file_in_its_place_is_416_then_fetched_anew(nginx, tmp_path):
    file, path = nginx.root / "changing.rar", tmp_path / "changing.rar"
    file.write_bytes(b"Rar!\x1a\7" + noise(600_000, 1))
    old = probe(nginx.url + "/changing.rar")
    part_file(path, old, 0, old.size).write_bytes(file.read_bytes()[:500_000])
    file.write_bytes(b"Rar!\x1a\7" + noise(300_000, 2))
    with pytest.raises(FetchError, match="HTTP 416.*replaced by a shorter one"):
        download(old, path, Line(1), part=MEGABYTE, progress=False)
    assert not path.exists()
    download(probe(old.url), path, Line(1), part=MEGABYTE, progress=False)
    assert path.read_bytes() == file.read_bytes() and nothing_half(tmp_path)


def test_file_that_is_longer_than_the_remote_one_is_begun_anew(nginx, tmp_path):
    data, path = (nginx.root / "small.rar").read_bytes(), tmp_path / "small.rar"
    remote = probe(nginx.url + "/small.rar")
    grown = tmp_path / f"small.rar.{remote.tag}.partial"
    grown.write_bytes(data[: len(data) // 2] + data)
    download(remote, path, Line(2), part=400_000, progress=False)
    assert path.read_bytes() == data and nothing_half(tmp_path)


def test_file_of_a_wrong_size_gets_no_final_name(nginx, tmp_path, monkeypatch):
    def grow(remote, growing, *_):
        growing.write_bytes(b"Rar!")

    monkeypatch.setattr(downloads, "_grow", grow)
    with pytest.raises(FetchError, match="has 4 bytes and should have 1,000,006: deleted"):
        download(probe(nginx.url + "/small.rar"), tmp_path / "small.rar", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_killed_before_its_last_step_an_older_file_does_not_pass_as_the_new_one(
    nginx, tmp_path, monkeypatch
):
    file, path = nginx.root / "renewed.rar", tmp_path / "renewed.rar"
    replace = os.replace

    def killed(source, target):
        if Path(target) == path:
            raise KeyboardInterrupt
        replace(source, target)

    file.write_bytes(b"Rar!\x1a\7" + noise(300_000, 3))
    download(probe(nginx.url + "/renewed.rar"), path, progress=False)
    file.write_bytes(b"Rar!\x1a\7" + noise(200_000, 4))
    remote = probe(nginx.url + "/renewed.rar")
    assert arrived(remote, path) == 0, "a file of another version counts as here"
    monkeypatch.setattr(downloads.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        download(remote, path, progress=False)
    monkeypatch.setattr(downloads.os, "replace", replace)
    download(remote, path, progress=False)
    assert path.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("source", ["throttled/UCF-101.zip", "throttled/UCF101.tar"])
def test_of_two_commands_at_once_one_says_that_the_other_writes(nginx, tmp_path, source):
    """Members of a zip go to the folder of clips at once, a tar to that of archives."""
    if source.endswith("tar"):
        with tarfile.open(nginx.root / "UCF101.tar", "w") as file:
            for name, data in expected("YoYo").items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    words = [sys.executable, str(REPO / "data_scripts" / "fetch_ucf101.py"), "--classes", "YoYo"]
    words += ["--source", f"{nginx.url}/{source}", "--out", str(tmp_path / "videos")]
    both = [
        subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(REPO)},
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    refused = next(text for text, process in zip(said, both) if process.returncode)
    assert "another command is writing to" in refused and "Traceback" not in refused
    assert files_in(tmp_path / "videos") == expected("YoYo") and nothing_half(tmp_path)
    for record in tmp_path.glob("downloads/*.json"):
        facts = json.loads(record.read_text())
        data = record.with_suffix("").read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_dead_addresses_and_web_pages(nginx, tmp_path):
    (nginx.root / "login.html").write_text("<!doctype html><title>Log in</title>" + " " * 2000)
    (nginx.root / "login.zip").write_text("\n<HTML><title>Log in</title></HTML>")
    (nginx.root / "notes.zip").write_bytes(b"something else")
    (nginx.root / "empty.zip").write_bytes(b"")
    cases = {
        "/gone.zip": "is not there any more .HTTP 404.",
        "/login.html": "a web page, not an archive",
        "/login.zip": "a web page, not an archive",
        "/notes.zip": "no zip, rar or tar by its first bytes",
        "/empty.zip": "no zip, rar or tar by its first bytes|empty file",
    }
    for path, words in cases.items():
        with pytest.raises(FetchError, match=words):
            fetch(nginx.url + path, job(tmp_path))
    with pytest.raises(FetchError, match="refuses the connection"):
        probe("http://127.0.0.1:9/x.zip", tries=1)
    with pytest.raises(FetchError, match="cannot be asked for"):
        probe("gopher://127.0.0.1/x.zip")
    assert list(tmp_path.rglob("*")) == []


# Certificates


def test_certificates_are_checked_and_the_fault_is_named(tmp_path, monkeypatch):
    authority = trustme.CA()
    middle = authority.create_child_ca()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    good = middle.issue_cert("127.0.0.1")
    expired = authority.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(year=2021))
    foreign = trustme.CA().issue_cert("127.0.0.1")
    chains = []
    for name, leaf, length in (("good", good, 1), ("expired", expired, 9), ("foreign", foreign, 9)):
        chain, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems[:length]))
        key.write_bytes(leaf.private_key_pem.bytes())
        chains.append((chain, key))
    root = tmp_path / "www"
    root.mkdir()
    (root / "UCF-101.zip").write_bytes(ucf_zip(("YoYo",), 1))
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    server = Nginx(tmp_path, root, chains)
    try:
        incomplete, expired_url, foreign_url = (f"{url}/UCF-101.zip" for url in server.tls)
        with pytest.raises(FetchError, match="the certificate has expired.*clock"):
            probe(expired_url)
        for url in (incomplete, foreign_url):
            with pytest.raises(FetchError, match="incomplete chain.*REQUESTS_CA_BUNDLE"):
                probe(url)
        # What the message says to do: append the missing certificate to the bundle.
        bundle.write_bytes(authority.cert_pem.bytes() + good.cert_chain_pems[1].bytes())
        fetch(incomplete, job(tmp_path / "out", "YoYo"))
        assert files_in(tmp_path / "out" / "videos") == expected("YoYo", per_class=1)
        with pytest.raises(FetchError, match="Verification stays on"):
            probe(foreign_url)
    finally:
        server.close()


# Clips out of a remote zip


def test_only_the_wanted_classes_cross_the_network(nginx, tmp_path, capsys):
    before = len(nginx.served())
    size = (nginx.root / "UCF-101.zip").stat().st_size
    fetch(nginx.url + "/UCF-101.zip", job(tmp_path, "HandstandPushups", dry_run=True))
    dry = capsys.readouterr().out
    assert "8 clips, 0 of them here already" in dry and "free" in dry
    assert not (tmp_path / "videos").exists()
    assert sum(count for _, count, _ in nginx.served(before)) < 80_000
    fetch(nginx.url + "/UCF-101.zip", job(tmp_path, "HandstandPushups", "YoYo"))
    said = capsys.readouterr().out
    assert "16 clips" in said and f"of {size / 1e6:.1f} MB (4" in said
    assert files_in(tmp_path / "videos") == expected("HandstandPushups", "YoYo")
    assert nothing_half(tmp_path) and not (tmp_path / "archives").exists()
    wanted = sum(map(len, expected("HandstandPushups", "YoYo").values()))
    served = sum(count for _, count, _ in nginx.served(before))
    assert 0.9 * wanted < served < wanted + 250_000 < 0.6 * size
    assert all(status == 206 for status, *_ in nginx.served(before))
    facts = json.loads((tmp_path / "videos" / "fetched.json").read_text())
    for name, data in files_in(tmp_path / "videos").items():
        assert facts[name]["sha256"] == hashlib.sha256(data).hexdigest()
    before = len(nginx.served())
    fetch(nginx.url + "/UCF-101.zip", job(tmp_path, "HandstandPushups", "YoYo"))
    assert sum(count for _, count, _ in nginx.served(before)) < 80_000, "clips were fetched twice"


def test_neighbours_are_one_request(nginx, tmp_path):
    remote = probe(nginx.url + "/UCF-101.zip")
    directory, clips = read_directory(remote), ClipFolder(tmp_path, ("Archery", "JumpRope"))
    plan = make_plan(remote, directory, clips)
    assert [len(members) for *_, members in plan.spans] == [8, 8]
    small = make_plan(remote, directory, clips, part=300_000)
    assert sum(len(members) for *_, members in small.spans) == 16
    assert all(stop - start <= 300_000 for start, stop, _ in small.spans)


def test_flat_zip_and_a_class_that_is_not_there(nginx, tmp_path):
    fetch(nginx.url + "/flat.zip", job(tmp_path, "HandstandPushups"))
    assert files_in(tmp_path / "videos") == expected("HandstandPushups")
    with pytest.raises(FetchError, match="has no clips of Biking"):
        fetch(nginx.url + "/flat.zip", job(tmp_path, "HandstandPushups", "Biking"))


def test_clips_killed_50_times_and_continued(nginx, killer, tmp_path):
    url, labels = nginx.url + "/throttled/few.zip", ["HandstandPushups", "YoYo"]
    rng, kills, rounds, whole = random.Random(2), 0, 0, expected(*labels, per_class=4)
    while True:
        folder = tmp_path / str(rounds)
        seconds = rng.uniform(0.01, 0.12) if kills < 50 else 60
        ended = killer.run("clips_in_spans", [url, str(folder), labels], seconds)
        kills += not ended
        there = files_in(folder)
        assert there.items() <= whole.items(), "a half clip has a final name"
        if ended:
            assert there == whole and nothing_half(folder)
            facts = json.loads((folder / "fetched.json").read_text())
            assert {name: fact["sha256"] for name, fact in facts.items()} == {
                name: hashlib.sha256(data).hexdigest() for name, data in whole.items()
            }
            rounds += 1
            if kills == 50:
                return


def test_spans_that_were_begun_are_continued(faulty, tmp_path):
    remote = probe(faulty.url + "/UCF-101.zip")
    clips = ClipFolder(tmp_path, ("YoYo",))
    plan = make_plan(remote, read_directory(remote), clips)
    ((start, stop, _),) = plan.spans
    begun = part_file(tmp_path / ".parts" / "span", remote, start, stop)
    begun.parent.mkdir()
    begun.write_bytes(faulty.files["UCF-101.zip"][start : start + 123_456])
    assert fetch_members(plan, clips, Line(1), progress=False) == []
    assert faulty.requests[-1] == f"bytes={start + 123_456}-{stop - 1}"
    assert files_in(tmp_path) == expected("YoYo") and nothing_half(tmp_path)


def test_parts_that_a_kill_left_go_once_all_clips_are_there(nginx, tmp_path):
    fetch(nginx.url + "/UCF-101.zip", job(tmp_path, "YoYo"))
    left = tmp_path / "videos" / ".parts" / "span.0123abcd-0-100000.partial"
    left.parent.mkdir()
    left.write_bytes(b"half")
    fetch(nginx.url + "/UCF-101.zip", job(tmp_path, "YoYo"))
    assert not left.parent.exists() and files_in(tmp_path / "videos") == expected("YoYo")


def test_damaged_member_is_left_out_named_and_mended_by_the_next_call(nginx, tmp_path):
    data = bytearray(ucf_zip())
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        stored = file.getinfo("UCF-101/YoYo/" + clip_name("YoYo", 2))
        packed = file.getinfo("UCF-101/YoYo/" + clip_name("YoYo", 3))
    data[stored.header_offset + 5_000] ^= 1
    data[packed.header_offset + 5_000] ^= 1
    (nginx.root / "bad.zip").write_bytes(data)
    with pytest.raises(FetchError, match="2 clips are damaged .*v_YoYo_g02_c01.*v_YoYo_g03_c01"):
        fetch(nginx.url + "/bad.zip", job(tmp_path, "YoYo"))
    there = files_in(tmp_path / "videos")
    assert len(there) == 6 and there.items() <= expected("YoYo").items()
    assert nothing_half(tmp_path)
    with pytest.raises(FetchError, match="2 clips are damaged"):
        fetch(nginx.root / "bad.zip", job(tmp_path / "local", "YoYo"))
    (nginx.root / "bad.zip").write_bytes(ucf_zip())
    before = len(nginx.served())
    fetch(nginx.url + "/bad.zip", job(tmp_path, "YoYo"))
    assert files_in(tmp_path / "videos") == expected("YoYo")
    assert sum(count for _, count, _ in nginx.served(before)) < 600_000


def test_zip_that_is_cut_short_on_the_server(nginx, tmp_path):
    (nginx.root / "cut.zip").write_bytes(ucf_zip()[:-5_000])
    with pytest.raises(FetchError, match="cut short or damaged"):
        fetch(nginx.url + "/cut.zip", job(tmp_path))
    with pytest.raises(FetchError, match="no whole zip"):
        fetch(nginx.root / "cut.zip", job(tmp_path))
    assert files_in(tmp_path) == {}


def test_zip_without_ranges_is_fetched_whole(nginx, tmp_path, capsys):
    fetch(nginx.url + "/whole/UCF-101.zip", job(tmp_path, "YoYo"))
    assert "has to be fetched whole here" in capsys.readouterr().out
    assert files_in(tmp_path / "videos") == expected("YoYo")
    assert (tmp_path / "archives" / "UCF-101.zip.json").is_file()


def test_truncated_body_of_a_zip_is_named(faulty, tmp_path):
    faulty.fault = "no_ranges_cut"
    with pytest.raises(NoRangesError, match="3 tries from the start were cut"):
        fetch(faulty.url + "/UCF-101.zip", job(tmp_path, "YoYo"))
    assert files_in(tmp_path) == {} and not (tmp_path / "archives" / "UCF-101.zip").exists()


# Room on the disk


def test_too_little_room_is_said_before_anything_is_fetched(nginx, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    before = len(nginx.served())
    with pytest.raises(NoRoomError, match="are needed in .* are free"):
        fetch(nginx.url + "/UCF-101.zip", job(tmp_path, "YoYo"))
    with pytest.raises(NoRoomError, match="are needed in .* are free"):
        download(probe(nginx.url + "/big.rar"), tmp_path / "big.rar", progress=False)
    assert sum(count for _, count, _ in nginx.served(before)) < 90_000
    assert files_in(tmp_path) == {}


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(command).returncode:
        pytest.skip("a disk of 1 MB can be mounted by root on Linux only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_keeps_what_came(nginx, tiny_disk, monkeypatch):
    monkeypatch.setattr(downloads, "check_room", lambda *_: None)
    path, remote = tiny_disk / "big.rar", probe(nginx.url + "/big.rar")
    with pytest.raises(NoRoomError, match="no room left on the disk"):
        download(remote, path, Line(2), part=400_000, progress=False)
    assert not path.exists() and kept_bytes(path, 400_000) > 500_000
    for file in tiny_disk.iterdir():
        file.unlink()
    clips = ClipFolder(tiny_disk, CLASSES)
    remote = probe(nginx.url + "/UCF-101.zip")
    plan = make_plan(remote, read_directory(remote), clips, part=200_000)
    with pytest.raises(NoRoomError, match="no room left on the disk"):
        fetch_members(plan, clips, Line(1), progress=False)
    assert files_in(tiny_disk).items() <= expected(*CLASSES).items()


_LIMITED = """
import resource, sys
from pathlib import Path
from twostream_utils.data.download import Line, download
from twostream_utils.data.web import FetchError, probe
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    download(probe(sys.argv[1]), Path(sys.argv[2]), Line(1), part=400_000, progress=False)
except FetchError as error:
    sys.exit(str(error))
"""


def test_limit_on_the_size_of_files_and_going_on_after_it(nginx, tmp_path):
    pytest.importorskip("resource")
    path, url = tmp_path / "big.rar", nginx.url + "/big.rar"
    command = [sys.executable, "-c", _LIMITED, url, str(path)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPO)}, text=True,
                         stderr=subprocess.PIPE)  # fmt: skip
    assert run.returncode == 1 and "give the same command again" in run.stderr
    kept, before = kept_bytes(path, 400_000), len(nginx.served())
    assert 800_000 <= kept and not path.exists()
    download(probe(url), path, Line(1), part=400_000, progress=False)
    assert path.read_bytes() == (nginx.root / "big.rar").read_bytes()
    served = sum(count for _, count, _ in nginx.served(before))
    assert served == len(path.read_bytes()) - kept + 1024


# Names


EVIL = (
    "../../v_YoYo_g01_c01.avi",
    "/etc/v_YoYo_g02_c01.avi",
    "UCF-101/YoYo/../../../v_YoYo_g03_c01.avi",
    "UCF-101/YoYo/..\\..\\v_YoYo_g04_c01.avi",
    "UCF-101/YoYo/v_..\\YoYo_g05_c01.avi",
    "UCF-101/../YoYo/evil.avi",
    "../../../../evil.txt",
)


def test_no_name_in_an_archive_leads_out_of_the_folder(nginx, tmp_path):
    with zipfile.ZipFile(nginx.root / "evil.zip", "w") as file:
        for name in EVIL:
            file.writestr(name, b"evil")
    with tarfile.open(nginx.root / "evil.tar.gz", "w:gz") as file:
        for name in EVIL:
            info = tarfile.TarInfo(name)
            info.size = 4
            file.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("YoYo/v_YoYo_g09_c01.avi")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    for name in ("evil.zip", "evil.tar.gz"):
        home = tmp_path / name
        inside = home / "a" / "b" / "videos"
        folder = job(home / "a" / "b", "YoYo")
        fetch(nginx.url + "/" + name, folder)
        fetch(nginx.root / name, job(home / "a" / "b", "YoYo"))
        assert files_in(inside) and set(files_in(inside)) <= {
            f"YoYo/v_YoYo_g0{number}_c01.avi" for number in (1, 2, 3)
        }
        outside = [
            path
            for path in home.rglob("*")
            if path.is_file() and inside not in path.parents and "archives" not in path.parts
        ]
        assert outside == []


def test_places_of_names():
    assert ucf101_place("UCF-101/X/v_HandStandPushups_g01_c02.avi") == (
        "HandstandPushups",
        "v_HandStandPushups_g01_c02.avi",
    )
    assert ucf101_place("v_YoYo_g01_c02.avi") == ("YoYo", "v_YoYo_g01_c02.avi")
    for stray in ("v_YoYo_g01_c02.txt", "YoYo/", "__MACOSX/._v_YoYo_g01_c02.avi", "v_a/b.avi"):
        assert ucf101_place(stray) is None
    assert weizmann_place("x/lena_walk1.avi") == ("walk", "lena_walk.avi")
    assert weizmann_place("ido_wave1.avi") == ("wave1", "ido_wave1.avi")
    assert weizmann_place("lena_walk2.avi") is None and weizmann_place("ido_swim.avi") is None


# Archives and folders on this disk


def test_tar_whatever_its_name_says_and_a_folder(tmp_path):
    tar = tmp_path / "UCF101_subset.tar.gz"  # the real one is not packed in spite of its name
    with tarfile.open(tar, "w") as file:
        for name, data in expected("YoYo", "Archery").items():
            info = tarfile.TarInfo(f"UCF101_subset/train/{name}")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    fetch(tar, job(tmp_path, "YoYo"))
    assert files_in(tmp_path / "videos") == expected("YoYo")
    other = job(tmp_path / "again", "YoYo")
    fetch(tmp_path / "videos", other)
    assert files_in(other.folder.root) == expected("YoYo")
    with pytest.raises(FetchError, match="has no clips of Archery"):
        fetch(tmp_path / "videos", job(tmp_path / "again", "YoYo", "Archery"))
    tar.write_bytes(tar.read_bytes()[: 5 * MEGABYTE // 4])
    with pytest.raises(FetchError, match="cut short or damaged"):
        fetch(tar, job(tmp_path / "cut", "YoYo", "Archery"))
    assert nothing_half(tmp_path)
    with pytest.raises(FetchError, match="there is no file or folder"):
        fetch(tmp_path / "nowhere.zip", job(tmp_path))


def test_zip_of_this_disk_says_what_it_holds_and_needs(tmp_path, monkeypatch, capsys):
    (tmp_path / "UCF-101.zip").write_bytes(ucf_zip())
    words = ["--source", str(tmp_path / "UCF-101.zip"), "--out", str(tmp_path / "videos")]
    words += ["--classes", "YoYo"]
    assert fetch_ucf101.main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    needed = sum(map(len, expected("YoYo").values())) / 1e6
    assert "1 class, 8 clips, 0 of them here already" in said
    assert f"room: {needed:.1f} MB needed" in said and "nothing was fetched" in said
    assert not (tmp_path / "videos").exists()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    assert fetch_ucf101.main(words) == 2
    assert "are needed in" in capsys.readouterr().err and files_in(tmp_path) == {}
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    assert fetch_ucf101.main(words) == 0 and files_in(tmp_path / "videos") == expected("YoYo")
    capsys.readouterr()
    assert fetch_ucf101.main([*words, "--dry-run"]) == 0
    assert "8 of them here already\n  room: 0.0 MB needed" in capsys.readouterr().out


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


@pytest.fixture
def rar(tmp_path):
    path = tmp_path / "UCF101.rar"
    files = {f"UCF-101/{name}": data for name, data in expected(*CLASSES[2:]).items()}
    path.write_bytes(rar_of({"UCF-101/readme.txt": b"not a clip", **files}))
    return path


def run_text(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("tool", ["unrar", "unar", "bsdtar", "7zz", "7z"])
def test_rar_through_each_program(rar, tmp_path, monkeypatch, capsys, tool):
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed")
    if tool.startswith("7z") and " Rar5 " not in run_text(program, "i"):
        with pytest.raises(FetchError, match="is a rar, which Python cannot read"):
            monkeypatch.setattr(unpacking, "_RAR_TOOLS", {tool: unpacking._RAR_TOOLS[tool]})
            unpacking.find_rar_tools(rar)
        pytest.skip(f"{tool} is built without rar, as Debian's is")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = tmp_path / "videos"
    words = ["--classes", "HandstandPushups", "--source", str(rar), "--out", str(out)]
    assert fetch_ucf101.main(words) == 0
    assert files_in(out) == expected("HandstandPushups")
    assert nothing_half(tmp_path)
    assert "8 of the 128 clips of 1 class are in" in capsys.readouterr().out
    rar.write_bytes(rar.read_bytes()[:1_500_000])
    with pytest.raises(FetchError, match="could not be unpacked.*Is it whole"):
        fetch(rar, job(tmp_path / "cut", "YoYo"))
    assert files_in(tmp_path / "cut") == {} and nothing_half(tmp_path)


def test_rar_without_a_program_names_the_packages(rar, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="(?s)apt install unar.*brew install unar.*winget"):
        fetch(rar, job(tmp_path, "YoYo"))


def test_rar_that_nothing_here_can_read_is_not_even_fetched(nginx, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    before = len(nginx.served())
    for dry_run in True, False:
        with pytest.raises(FetchError, match="is a rar, which Python cannot read: install"):
            fetch(nginx.url + "/big.rar", job(tmp_path, "YoYo", dry_run=dry_run))
    assert sum(size for _, size, _ in nginx.served(before)) == 2 * 1024  # the first bytes, twice


def test_what_is_there_is_not_unpacked_again_and_what_a_kill_left_goes(
    rar, tmp_path, monkeypatch, capsys
):
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is not installed")
    left = tmp_path / "videos" / ".unpacked-killed" / "YoYo"
    left.mkdir(parents=True)
    (left / "v_YoYo_g01_c01.avi").write_bytes(b"half")
    fetch(rar, job(tmp_path, "YoYo", due={"YoYo": 8}))
    assert files_in(tmp_path / "videos") == expected("YoYo") and nothing_half(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no program any more: none is needed
    fetch(rar, job(tmp_path, "YoYo", due={"YoYo": 8}))
    assert "8 clips, 8 of them here already: nothing to do" in capsys.readouterr().out
    with pytest.raises(FetchError, match="is a rar, which Python cannot read"):
        fetch(rar, job(tmp_path, "YoYo", due={"YoYo": 9}))


# The commands


def test_command_tries_sources_in_turn_and_explains(nginx, tmp_path, monkeypatch, capsys):
    sources = [
        fetch_ucf101.Source("gone", nginx.url + "/gone.zip", None, "dead"),
        fetch_ucf101.Source("few", nginx.url + "/flat.zip", None, "some", ("Archery",)),
        fetch_ucf101.Source("zip", nginx.url + "/UCF-101.zip", 6_960_000_000, "all"),
    ]
    monkeypatch.setattr(fetch_ucf101, "SOURCES", sources)
    out = tmp_path / "my videos"
    words = ["--out", str(out), "--classes", "HandStandPushups", "YoYo"]
    assert fetch_ucf101.main(words) == 0
    said = capsys.readouterr().out
    assert "HTTP 404" in said and "it has no HandstandPushups, YoYo" in said
    assert files_in(out) == expected("HandstandPushups", "YoYo")
    assert "16 of the 256 clips of 2 classes are in" in said
    assert "extract.py" in said.splitlines()[-1]
    assert f"'{out}'" in said.splitlines()[-1]
    assert fetch_ucf101.main([*words, "--source", "gone"]) == 2
    assert "no source gave everything" in capsys.readouterr().err
    assert fetch_ucf101.main(["--classes", "Yoyo", "--out", str(out)]) == 2
    assert "YoYo?" in capsys.readouterr().err


def test_command_names_every_profile_and_source():
    assert fetch_ucf101.wanted_classes("ucf20", None) == get_profile("ucf20").classes
    assert len(fetch_ucf101.wanted_classes("ucf101", None)) == 101
    assert [s.name for s in fetch_ucf101.SOURCES] == ["hf-zip", "thumos", "official", "subset"]
    assert all(s.url.startswith("https://") for s in fetch_ucf101.SOURCES)
    assert len(fetch_weizmann.SOURCES) == 10


def test_weizmann_zips(nginx, tmp_path, capsys):
    site = nginx.root / "DB"
    site.mkdir()
    for action in fetch_weizmann.WEIZMANN_ACTIONS:
        with zipfile.ZipFile(site / f"{action}.zip", "w") as file:
            takes = ("1", "2") if action in ("run", "skip", "walk") else ("",)
            for person in ("lena", "ido"):
                for take in takes if person == "lena" else ("",):
                    file.writestr(f"{person}_{action}{take}.avi", noise(20_000, 1) + take.encode())
    out = tmp_path / "weizmann"
    assert fetch_weizmann.main(["--source", nginx.url + "/DB/", "--out", str(out)]) == 0
    there = files_in(out)
    assert len(there) == 20 and there["walk/lena_walk.avi"].endswith(b"1")
    said = capsys.readouterr().out
    assert "20 of the 90 clips of 10 classes" in said and "--group-pattern '^([a-z]+)_'" in said


# Real clips


def test_real_clips_by_range_then_extraction_stacks_and_a_training_step(
    shared_data, tmp_path, tmp_path_factory, request, precision
):
    import torch  # seconds, and the other tests here need none of it

    from twostream_utils.data.extract import extract
    from twostream_utils.profiles import Recipe
    from twostream_utils.stacks import StackDataset
    from twostream_utils.store import FrameStore
    from twostream_utils.training import fit
    from twostream_utils.vgg import vgg19

    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(1)  # for networks this small, threads that wait cost more than they give
    # Rounded to 16 bits, two equally likely classes may balance, and a bias would have no gradient.
    precision("no")
    labels = ("PizzaTossing", "WallPushups")  # three clips and two
    root = tmp_path_factory.mktemp("real")
    with zipfile.ZipFile(root / "UCF-101.zip", "w") as file:
        for path in sorted((shared_data / "ucf101_clips").rglob("*.avi")):
            packing = zipfile.ZIP_DEFLATED if path.parent.name in labels else zipfile.ZIP_STORED
            file.write(path, f"UCF-101/{path.parent.name}/{path.name}", packing)
    server = Nginx(tmp_path_factory.mktemp("nginx"), root)
    try:
        fetch(server.url + "/UCF-101.zip", job(tmp_path, *labels, connections=4))
        served = sum(count for _, count, _ in server.served())
    finally:
        server.close()
    with zipfile.ZipFile(root / "UCF-101.zip") as file:
        wanted = [info for info in file.infolist() if info.filename.split("/")[1] in labels]
    share = sum(info.compress_size for info in wanted)
    size = (root / "UCF-101.zip").stat().st_size
    assert share < served < share + 150_000 and served < 0.03 * size
    videos = tmp_path / "videos"
    assert files_in(videos) == {
        f"{label}/{name}": data
        for label in labels
        for name, data in files_in(shared_data / "ucf101_clips" / label).items()
    }
    report = extract(videos, tmp_path / "shards", short_side=48, workers=1, progress=False)
    assert report.clips == len(wanted) == 5 and not report.skipped
    store = FrameStore(tmp_path / "shards")
    profile = get_profile("mini", rgb_frames=2, flow_fields=4, short_side=48, crop=32, width=1 / 32)
    for stream, channels in (("rgb", 6), ("flow", 8)):
        data = StackDataset(store, store.clips, labels, profile, (stream,), train=True)
        torch.manual_seed(0)
        model = vgg19(channels, 2, profile.width, batch_norm=True)
        before = [weight.detach().clone() for weight in model.parameters()]
        (row,) = fit(model, data, Recipe(1, 0.01, len(data)), tmp_path / f"{stream}.pt")
        assert np.isfinite(row["loss"]) and row["loss"] > 0
        moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters())]
        assert all(moved), "a layer was not trained"

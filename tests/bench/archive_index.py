"""How long an archive of millions of frames takes to open, and how much memory.

    python tests/bench/archive_index.py [--entries 5000000] [--folder DIR]

Makes an archive in three parts with a 64-bit directory of that many entries (holes where the
frames would lie: it takes the room of the directory only, about 0.6 GB), opens it in processes of
their own, the first time and from the cached index, and prints seconds and peak memory of each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from twostream_utils.splits import UCF101_CLASSES

FRAMES = 186  # per clip on average in UCF101: 13,320 clips, 2.5 million frames
REAL = 1000  # entries at both ends that have a picture; a clip has 556
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


def names() -> Iterator[str]:
    """Endless member names of the published archives: RGB, u and v of clip after clip."""
    for number in range(1, 1_000_000):
        for label in UCF101_CLASSES:
            clip = f"v_{label}_g{(number - 1) % 25 + 1:02d}_c{(number - 1) // 25 + 1:02d}"
            for folder, count in (
                ("jpegs_256", FRAMES), ("tvl1_flow/u", FRAMES - 1), ("tvl1_flow/v", FRAMES - 1)
            ):  # fmt: skip
                for frame in range(1, count + 1):
                    yield f"{folder}/{clip}/frame{frame:06d}.jpg"


def make_archive(folder: Path, entries: int, bytes_a_part: int = 9_000_000_000) -> list[Path]:
    """Write `bench.zip.001` to `.003` with `entries` frames; the first and last thousand are real.

    A member's place stands in the 64-bit extra field wherever it passes four bytes.
    """
    jpeg = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    sizes = (zlib.crc32(jpeg), len(jpeg), len(jpeg))
    apart = 2 * bytes_a_part // entries
    parts = [folder / f"bench.zip.{k:03d}" for k in (1, 2, 3)]
    with contextlib.ExitStack() as stack:
        *frames, last = (stack.enter_context(open(part, "wb")) for part in parts)
        for file in frames:
            file.truncate(bytes_a_part)
        for k, name in enumerate(map(str.encode, islice(names(), entries))):
            part, place = divmod(k * apart, bytes_a_part)
            if k < REAL or k >= entries - REAL:
                frames[part].seek(place)
                header = _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 33, *sizes, len(name), 0)
                frames[part].write(header + name + jpeg)
            far = k * apart >= 0xFFFFFFFF
            extra = struct.pack("<2HQ", 1, 8, k * apart) if far else b""
            entry = (
                b"PK\1\2",
                45,
                3,
                45,
                0,
                0,
                0,
                0,
                33,
                *sizes,
                len(name),
                len(extra),
                0,
                0,
                0,
                0,
            )
            last.write(_ENTRY.pack(*entry, 0xFFFFFFFF if far else k * apart) + name + extra)
        size, start = last.tell(), 2 * bytes_a_part
        numbers = (44, 45, 45, 0, 0, entries, entries, size, start)
        last.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", *numbers))
        last.write(struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1))
        last.write(b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2))
    return parts


def measure(folder: Path, entries: int) -> dict:
    """Make the archive in `folder` and open it twice, each time in a new process."""
    make_archive(folder, entries)
    # On Linux ru_maxrss of a new process starts at the peak of its parent; VmHWM does not.
    code = f"""
import json, pathlib, resource, sys, time
from twostream_utils.store import FrameStore
def peak_mb():
    if sys.platform == "linux":
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
before, began, used = peak_mb(), time.perf_counter(), time.process_time()
store = FrameStore({str(folder)!r})
seconds, cpu = time.perf_counter() - began, time.process_time() - used
store.rgb(store.clips[0], 7)
print(json.dumps({{"seconds": seconds, "cpu": cpu, "clips": len(store.clips),
                  "before_mb": before, "peak_mb": peak_mb()}}))
"""
    result = {}
    for name in ("first", "cached"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        result[name] = json.loads(done.stdout)
    return result


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=5_000_000)
    parser.add_argument("--folder", help="where to make it; default: the system's temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = measure(Path(folder), args.entries)
        size = (Path(folder) / ".frame_index").stat().st_size / 1e6
    print(f"{args.entries:,} entries, {result['first']['clips']:,} clips, index of {size:.0f} MB")
    for name, row in result.items():
        print(
            f"{name:>6} open: {row['seconds']:6.2f} s ({row['cpu']:.2f} s of the CPU), "
            f"peak {row['peak_mb']:.0f} MB ({row['before_mb']:.0f} MB of it the libraries)"
        )


if __name__ == "__main__":
    main()

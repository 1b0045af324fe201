"""Generate the mini set: 1000 clips of 10 actions with their optical flow, about 300 MB.

    python data_scripts/make_mini.py [--root data/mini] [--seed 0]
"""
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from twostream_utils.mini.generate import make_mini  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT / "data" / "mini",
                        help="folder for the shards (default: data/mini)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another set")
    parser.add_argument("--workers", type=int, default=None,
                        help="processes (default: one per core)")
    args = parser.parse_args()
    began = time.perf_counter()
    shards = make_mini(args.root, args.seed, args.workers)
    size = sum(path.stat().st_size for path in shards) / 1e6
    print(f"{len(shards)} classes, {size:.0f} MB in {args.root} "
          f"({time.perf_counter() - began:.1f} s)")


if __name__ == "__main__":
    main()

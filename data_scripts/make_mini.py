"""Generate the mini set: 1000 clips of 10 actions with their optical flow, about 300 MB.

    python data_scripts/make_mini.py [--root data/mini] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from twostream_utils.mini import make_mini

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = "folder for the shards (default: data/mini)"
    parser.add_argument("--root", type=Path, default=ROOT / "data" / "mini", help=where)
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another set")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    args = parser.parse_args()
    began = time.perf_counter()
    try:
        shards = make_mini(args.root, args.seed, args.workers)
    except KeyboardInterrupt:
        kept = f"the whole shards in {args.root} are kept; the same command goes on."
        print(f"\nInterrupted: {kept}", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in shards) / 1e6
    seconds = time.perf_counter() - began
    print(f"{len(shards)} classes, {size:.0f} MB in {args.root} ({seconds:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

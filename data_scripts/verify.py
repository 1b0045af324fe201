"""Is a data set whole, and does its flow look like flow?

    python data_scripts/verify.py ROOT [--split N] [--profile ucf20] [--full]

ROOT holds shards, archives (in parts or not) or the unpacked folders. Counts are checked always:
frames without a gap, one flow field fewer. --split asks for every clip of an official split of
UCF101, --full decodes every JPEG. Prints what is missing or damaged; the exit status is 0 if
nothing is, 1 if something is, 2 if ROOT cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from twostream_utils.data.verify import flow_warnings, verify
from twostream_utils.profiles import PROFILES
from twostream_utils.splits import UCF101_CLASSES
from twostream_utils.store import FrameStore, StoreError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="ROOT", type=Path)
    parser.add_argument(
        "--split", type=int, choices=(1, 2, 3), help="all clips of this UCF101 split must be there"
    )
    parser.add_argument(
        "--profile",
        choices=[name for name, profile in PROFILES.items() if profile.classes],
        help="with --split: the classes of this profile; default: the classes that are there",
    )
    parser.add_argument("--full", action="store_true", help="decode every JPEG (hours for UCF101)")
    parser.add_argument("--workers", type=int, help="processes for --full; default: one per core")
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="replace")  # names of clips that this console cannot show
    if args.profile and not args.split:
        parser.error("--profile says whose clips must be there: it needs --split")
    classes = (PROFILES[args.profile].classes or UCF101_CLASSES) if args.profile else None
    try:
        store = FrameStore(args.root)
    except (StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        found = verify(store, args.split, classes, args.full, args.workers)
        print("\n".join(found.lines()))
        whole = [clip for clip in store.clips if clip not in found.broken]
        print("\n".join(flow_warnings(store, whole)))
    except KeyboardInterrupt:
        print("\nInterrupted: nothing was changed.", file=sys.stderr)
        return 130
    except StoreError as error:
        print(f"While looking at the flow: {error}\n--full finds all such files.")
        return 1
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Folder of labelled videos to RGB and optical-flow shards in the course's data layout.

    python data_scripts/extract.py SOURCE OUT [--flow dis] [--flow-scale 1] [--every N]

SOURCE holds one folder of videos (or of folders of images) per class; above these there may be
train, val and test. OUT gets one uncompressed zip per class. Interrupted,
the same command goes on after the last whole shard.
"""

from __future__ import annotations

import argparse
import sys

from twostream_utils.data.extract import Report, extract
from twostream_utils.data.verify import flow_warnings
from twostream_utils.flow import ALGORITHMS
from twostream_utils.store import FrameStore


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE", help="folder with one folder of videos a class")
    parser.add_argument("out", metavar="OUT", help="folder for the shards")
    parser.add_argument(
        "--short-side", type=int, default=256, help="px; larger videos are scaled down to it"
    )
    parser.add_argument(
        "--flow",
        choices=ALGORITHMS,
        default="dis",
        help="flow algorithm: dis_small for frames under 200 px; tvl1 takes 100 times as long",
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="only every Nth flow field, for stacks whose fields are N (or 2 N, ...) apart",
    )
    parser.add_argument(
        "--flow-scale",
        type=float,
        default=1.0,
        metavar="S",
        help="0.5: flow at half size (with --flow dis_small), a quarter of the pixels; its values "
        "stay px of the whole frame, and it is enlarged when it is read. It cost a temporal "
        "stream 17 points on frames 80 px high",
    )
    parser.add_argument(
        "--group-pattern",
        metavar="REGEX",
        help="its first bracket is the group, e.g. '^([a-z]+)_' for <person>_<action>.avi",
    )
    parser.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help="frames per second of all videos, 0 for as they are; default: only videos above "
        "31 (or 38) and uneven ones are read at 25 (or 30)",
    )
    parser.add_argument("--workers", type=int, help="processes; default: one per core")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if any video had to be left out"
    )
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="replace")  # names of files that this console cannot show
    for option, least in (("short_side", 16), ("every", 1), ("workers", 1)):
        value = getattr(args, option)
        if value is not None and value < least:
            parser.error(f"--{option.replace('_', '-')} must be {least} or more")
    try:
        report = extract(
            args.source,
            args.out,
            short_side=args.short_side,
            algorithm=args.flow,
            every=args.every,
            flow_scale=args.flow_scale,
            group_pattern=args.group_pattern,
            rate=args.fps,
            workers=args.workers,
        )
        warnings = flow_warnings(FrameStore(args.out))
    except KeyboardInterrupt:
        print(
            f"\nInterrupted: the whole shards in {args.out} are kept; the same command goes on.",
            file=sys.stderr,
        )
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(report, args.out)
    print("\n".join(warnings))
    return 1 if args.strict and report.skipped else 0


def print_report(report: Report, out: str) -> None:
    """Print clips, frames, size, what was left out and why, and a hint where groups are missing."""
    print(
        f"{report.clips} clips ({len(report.written)} new), {report.frames} frames, "
        f"{report.megabytes:.1f} MB in {out}"
    )
    if report.skipped:
        print(f"all that is left out is in {out}/skipped.txt")
    print("\n".join(report.lines()))
    if report.ungrouped:
        print(
            f"No group could be read from {report.ungrouped} names, so each of these clips is a "
            "group by itself.\nIf clips share a person or a scene, a split will put such twins on "
            "both sides and accuracy will look\nbetter than it is: give --group-pattern REGEX "
            "(its first bracket is the group)."
        )


if __name__ == "__main__":
    sys.exit(main())

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
    add = parser.add_argument  # each option but --strict is what `extract` calls it
    add("source", metavar="SOURCE", help="folder with one folder of videos a class")
    add("out", metavar="OUT", help="folder for the shards")
    add("--short-side", type=int, default=256, help="px; larger videos are scaled down to it")
    words = "flow algorithm: dis_small for frames under 200 px; tvl1 takes 100 times as long"
    add("--flow", choices=ALGORITHMS, default="dis", dest="algorithm", help=words)
    words = "only every Nth flow field, for stacks whose fields are N (or 2 N, ...) apart"
    add("--every", type=int, default=1, metavar="N", help=words)
    words = "0.5: flow at half size (with --flow dis_small), a quarter of the pixels; its values "
    words += "stay px of the whole frame, and it is enlarged when it is read. It cost a temporal "
    words += "stream 17 points on frames 80 px high"
    add("--flow-scale", type=float, default=1.0, metavar="S", help=words)
    words = "its first bracket is the group, e.g. '^([a-z]+)_' for <person>_<action>.avi"
    add("--group-pattern", metavar="REGEX", help=words)
    words = "frames per second of all videos, 0 for as they are; default: only videos above 31 (or "
    words += "38) and uneven ones are read at 25 (or 30)"
    add("--fps", type=float, metavar="N", dest="rate", help=words)
    add("--workers", type=int, help="processes; default: one per core")
    add("--strict", action="store_true", help="exit with 1 if any video had to be left out")
    options = vars(parser.parse_args(argv))
    strict, out = options.pop("strict"), options["out"]
    sys.stdout.reconfigure(errors="replace")  # names of files that this console cannot show
    for option, least in (("short_side", 16), ("every", 1), ("workers", 1)):
        if options[option] is not None and options[option] < least:
            parser.error(f"--{option.replace('_', '-')} must be {least} or more")
    try:
        report = extract(**options)
        warnings = flow_warnings(FrameStore(out))
    except KeyboardInterrupt:
        kept = f"the whole shards in {out} are kept; the same command goes on."
        print(f"\nInterrupted: {kept}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(report, out)
    print("\n".join(warnings))
    return 1 if strict and report.skipped else 0


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

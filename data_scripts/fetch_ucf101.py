"""Videos of UCF101 into data/ucf101_videos/<class>/<clip>.avi, only the classes that you want.

    python data_scripts/fetch_ucf101.py --profile ucf20 --dry-run
    python data_scripts/fetch_ucf101.py --classes YoYo JumpRope --source ~/Downloads/UCF101.rar
"""

import argparse
import shlex
import sys
from pathlib import Path

from twostream_utils.data.fetch import UCF101, FetchError, extraction_of, fetch
from twostream_utils.profiles import PROFILES

ROOT = Path(__file__).resolve().parents[1]


def main(arguments=None, about=__doc__, videos=UCF101, name="ucf101") -> int:
    """Run the command line; returns the exit status."""
    sources = "".join(f"\n  {key:<9} {url}" for key, url in videos.sources.items())
    profiles = [key for key, p in PROFILES.items() if p.source.startswith(f"fetch_{name}.")]
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"sources, tried in turn (any may be dead by now):{sources}",
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group(required=len(profiles) > 1)
    which.add_argument("--profile", choices=profiles, help="the classes of this profile")
    which.add_argument("--classes", nargs="+", metavar="CLASS", help="these classes")
    parser.add_argument("--source", default="", help="a name below, an address, archive or folder")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / f"{name}_videos", metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="only print what it would take")
    args = parser.parse_args(arguments)
    profile = PROFILES[args.profile or profiles[0]]
    try:
        fetch(videos, args.out, args.classes or profile.classes, args.source, dry_run=args.dry_run)
    except KeyboardInterrupt:
        return 130
    except (FetchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shards = ROOT / "data" / profile.data
    words = [ROOT / "data_scripts" / "extract.py", args.out.absolute(), shards]
    words = [p.relative_to(Path.cwd()) if p.is_relative_to(Path.cwd()) else p for p in words]
    words = [p.as_posix() for p in words]  # Windows takes them, too, and they need no quotes
    done = "Nothing was fetched. Next" if args.dry_run else f"The clips are in {args.out}. Next"
    print(f"{done}:\n  {shlex.join(['python', *words, *extraction_of(profile)])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

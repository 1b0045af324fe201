"""Videos of UCF101 → data/ucf101_videos/<class>/<clip>.avi, only the classes that are wanted.

    python data_scripts/fetch_ucf101.py --profile ucf20
    python data_scripts/fetch_ucf101.py --classes YoYo JumpRope --source ~/Downloads/UCF101.rar

Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
from collections import Counter
from pathlib import Path

from twostream_utils.data.clip_folder import ClipFolder
from twostream_utils.data.download import CONNECTIONS, Line, gigabytes
from twostream_utils.data.fetch import Job, Source, fetch, fetch_first, table
from twostream_utils.data.ucf101_clips import ucf101_clips
from twostream_utils.data.web import FetchError
from twostream_utils.profiles import PROFILES
from twostream_utils.splits import SPELLING, UCF101_CLASSES, parse_name

DATA = Path(__file__).resolve().parents[1] / "data"
DRY = "A dry run: nothing was fetched. Without --dry-run the same command does it."
_HF = "https://huggingface.co/datasets"

# Tried in this order; any of them may be dead by now. `table` says that none could be tried here.
SOURCES = (
    Source(
        "hf-zip",
        f"{_HF}/quchenyuan/UCF101-ZIP/resolve/main/UCF-101.zip",
        6_960_000_000,
        "whole set; only the wanted classes are fetched",
    ),
    Source(
        "thumos",
        "https://storage.googleapis.com/thumos14_files/UCF101_videos.zip",
        None,
        "whole set, as used by TensorFlow's tutorials; only the wanted classes are fetched",
    ),
    Source(
        "official",
        "https://www.crcv.ucf.edu/datasets/human-actions/ucf101/UCF101.rar",
        6_900_000_000,
        "the authors' rar, fetched whole; its site sends an incomplete certificate chain",
    ),
    Source(
        "subset",
        f"{_HF}/sayakpaul/ucf101-subset/resolve/main/UCF101_subset.tar.gz",
        171_000_000,
        "some clips of each of the first ten classes, fetched whole",
        UCF101_CLASSES[:10],
    ),
)


def wanted_classes(profile: str | None, names: list[str] | None) -> tuple[str, ...]:
    """Classes by `--classes`, else by the profile, in the official order.

    Raises:
        ValueError: an unknown class; the nearest name is suggested.
    """
    if not names:
        return PROFILES[profile].classes or UCF101_CLASSES
    chosen = {SPELLING.get(name, name) for name in names}
    for name in sorted(chosen - set(UCF101_CLASSES)):
        near = difflib.get_close_matches(name, UCF101_CLASSES, 1)
        raise ValueError(f"UCF101 has no class {name!r}" + (f"; {near[0]}?" if near else ""))
    return tuple(name for name in UCF101_CLASSES if name in chosen)


def next_command(videos: Path, out: Path, *options: str) -> str:
    """The command that makes shards of `videos`, as it is to be typed here.

    Paths are absolute unless this was given in the repository: cells of a notebook run elsewhere.
    """
    paths = [Path(__file__).resolve().with_name("extract.py"), videos.absolute(), out]
    if Path.cwd() == DATA.parent:
        paths = [p.relative_to(DATA.parent) if p.is_relative_to(DATA.parent) else p for p in paths]
    return shlex.join(["python", *map(str, paths), *options])


def finish(videos: Path, folder: ClipFolder, due: int, command: str) -> None:
    """Print how many clips of `due` are there now and the command that comes next."""
    counts = folder.counts()
    classes = "1 class" if len(counts) == 1 else f"{len(counts)} classes"
    print(
        f"\n{sum(counts.values())} of the {due} clips of {classes} are in {videos}, "
        f"{gigabytes(folder.size())}\n"
        f"sizes and SHA-256 in {videos / 'fetched.json'}\n\nNext:\n  {command}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"sources, tried in this order by --source auto:\n{table(SOURCES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    profiles = [name for name, profile in PROFILES.items() if profile.data == "ucf101"]
    parser.add_argument("--profile", choices=profiles, help="the classes of this profile")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="these classes instead")
    parser.add_argument(
        "--source",
        default="auto",
        metavar="auto|NAME|URL|PATH",
        help="a source of the table below, or your own address, archive or folder of videos",
    )
    parser.add_argument("--out", type=Path, default=DATA / "ucf101_videos", metavar="DIR")
    parser.add_argument(
        "--connections", type=int, default=CONNECTIONS, help="at once (default: %(default)s)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be fetched and the room needed"
    )
    options = parser.parse_args(arguments)
    if not options.profile and not options.classes:
        parser.error("give --profile or --classes")
    if options.connections < 1:
        parser.error("--connections must be 1 or more")
    try:
        classes = wanted_classes(options.profile, options.classes)
        folder = ClipFolder(options.out, classes)
        archives = options.out.absolute().parent / "downloads"
        due = Counter(parse_name(clip).label for clip in ucf101_clips(classes))
        job = Job(folder, archives, options.dry_run, line=Line(options.connections), due=due)
        named = [source for source in SOURCES if source.name == options.source]
        if options.source == "auto" or named:
            print(f"Sources:\n{table(named or SOURCES)}\n")
            fetch_first(named or SOURCES, job)
        else:
            fetch(options.source, job)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except (FetchError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.dry_run:
        print(DRY)
    else:
        side = PROFILES["ucf101"].short_side
        command = next_command(options.out, DATA / "ucf101", "--short-side", str(side))
        finish(options.out, folder, due.total(), command)
    return 0


if __name__ == "__main__":
    sys.exit(main())

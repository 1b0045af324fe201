"""Weizmann actions → data/weizmann_videos/<action>/<person>_<action>.avi, 90 clips.

    python data_scripts/fetch_weizmann.py

Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fetch_ucf101 import DATA, DRY, finish, next_command

from twostream_utils.data.clip_folder import WEIZMANN_ACTIONS, ClipFolder, weizmann_place
from twostream_utils.data.fetch import Job, Source, fetch, fetch_first, table
from twostream_utils.data.web import FetchError
from twostream_utils.profiles import PROFILES

CLIPS = 90  # nine persons, ten actions
_SITE = "https://www.wisdom.weizmann.ac.il/~vision/VideoAnalysis/Demos/SpaceTimeActions/DB"

# The authors' own site, one zip an action.
SOURCES = tuple(
    Source(action, f"{_SITE}/{action}.zip", None, "nine persons", (action,))
    for action in WEIZMANN_ACTIONS
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"sources, one an action:\n{table(SOURCES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source",
        metavar="URL|PATH",
        help="your own archive or folder with all actions, or the address of a folder that holds "
        "the zips",
    )
    parser.add_argument("--out", type=Path, default=DATA / "weizmann_videos", metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="print what would be fetched")
    options = parser.parse_args(arguments)
    archives = options.out.absolute().parent / "downloads"
    try:
        if options.source and "://" not in options.source:
            folder = ClipFolder(options.out, WEIZMANN_ACTIONS, weizmann_place)
            due = dict.fromkeys(WEIZMANN_ACTIONS, CLIPS // len(WEIZMANN_ACTIONS))
            fetch(options.source, Job(folder, archives, options.dry_run, due=due))
        else:
            site = (options.source or _SITE).rstrip("/")
            for source in SOURCES:
                folder = ClipFolder(options.out, source.classes, weizmann_place)
                moved = Source(source.name, f"{site}/{source.name}.zip", None, "", source.classes)
                fetch_first([moved], Job(folder, archives, options.dry_run))
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except (FetchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.dry_run:
        print(DRY)
    else:
        profile = PROFILES["weizmann"]
        settings = ["--short-side", str(profile.short_side)]
        settings += ["--group-pattern", profile.group_pattern]
        folder = ClipFolder(options.out, WEIZMANN_ACTIONS, weizmann_place)
        command = next_command(options.out, DATA / "weizmann", *settings)
        finish(options.out, folder, CLIPS, command)
    return 0


if __name__ == "__main__":
    sys.exit(main())

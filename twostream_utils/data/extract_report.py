"""What an extraction did: clips, sizes, and the videos that it left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..files import atomic_write


@dataclass
class Report:
    """What `extract` did: clips written now, shards kept from before, videos left out and why.

    `frames`, `megabytes` and `ungrouped` (clips that are their own group because no group could
    be read from the name) count the whole of `out` for the classes asked for.
    """

    written: list[str] = field(default_factory=list)
    reused: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    clips: int = 0
    frames: int = 0
    megabytes: float = 0.0
    ungrouped: int = 0


def count_shard(report: Report, shard: Path, clips: dict[str, dict]) -> None:
    """Add a whole shard and its `clips.json` to the report."""
    report.clips += len(clips)
    report.frames += sum(meta["frames"] for meta in clips.values())
    report.megabytes += shard.stat().st_size / 1e6
    report.ungrouped += sum(meta["group"] == clip for clip, meta in clips.items())


def write_skipped(path: Path, skipped: list[tuple[str, str]]) -> None:
    """Write names and reasons, a line each; no file where nothing was left out."""
    if not skipped:
        path.unlink(missing_ok=True)
        return
    lines = "".join(f"{name}\t{reason}\n" for name, reason in skipped)
    with atomic_write(path) as part:
        part.write_text(lines, encoding="utf-8")

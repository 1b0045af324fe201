"""Draw the moving picture of the README and of notebook 00, from the trained networks.

    python notebooks/make/moving.py           writes notebooks/figures/two_streams.webp

A clip plays, its flow beside it, and three bars say how much each network gives to the right class
of what has been shown so far. What hasn't been shown yet is no news to a network: the last frame
stays, and nothing moves. The clips are test clips that both streams get wrong and conv fusion gets
right, of three different classes, those that fusion is surest of.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from index import ROOT
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont, ImageOps

from twostream_utils.course import Course
from twostream_utils.flow import decode
from twostream_utils.lab import setup
from twostream_utils.lab.flow_colours import flow_to_rgb
from twostream_utils.lab.flow_plots import fastest, field_at, with_small_wheel
from twostream_utils.profiles import INPUTS
from twostream_utils.stacks import network_input
from twostream_utils.views import span

OUT = ROOT / "notebooks" / "figures" / "two_streams.webp"
NETWORKS = {
    "spatial": ("spatial stream", "#0072B2"),
    "temporal": ("temporal stream", "#D55E00"),
    "conv": ("both, fused", "#009E73"),
}
CLIPS = 3
EVERY, FRAME_MS, HOLD_MS = 2, 80, 1500  # of a clip: shown frames, how long, and the last one
WIDTH, HEIGHT, GAP, TITLE, PANEL = 320, 240, 12, 30, 260
SLOWEST = 2.0  # px per frame at the wheel's rim: below it, steps of 8 bits would look like motion
INK, PALE, TRACK = "#222222", "#777777", "#e8e8e8"


@dataclass
class Story:
    """A clip and what each network makes of its first frames, ``{network: (T, classes)}``."""

    clip: str
    truth: int
    shown: list[int]
    answers: dict[str, np.ndarray]


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    face = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return ImageFont.truetype(findfont(face), size)


def rescued(c: Course) -> list[str]:
    """Test clips that conv fusion alone gets right, the surest first, one a class."""
    scores = {name: c.scores(name) for name in NETWORKS}
    logits = {name: torch.from_numpy(s.clip_logits()) for name, s in scores.items()}
    labels = torch.from_numpy(scores["conv"].labels)
    wanted = logits["conv"].argmax(1) == labels
    for name in "spatial", "temporal":
        wanted &= logits[name].argmax(1) != labels
    sure = logits["conv"].softmax(1).gather(1, labels[:, None])[:, 0]
    by_class = {}
    for k in torch.argsort(-sure).tolist():
        clip = scores["conv"].clips[k]
        if wanted[k] and c.store.n_frames(clip) >= span(c.profile):
            by_class.setdefault(c.store.label(clip), clip)
    return list(by_class.values())


@torch.no_grad()
def watch(c: Course, networks: dict[str, torch.nn.Module], clip: str) -> Story:
    """Let each network see the first frames of a clip: one more, two more, to the whole stack."""
    data, p = c.dataset("test", crops="centre"), c.profile
    item = data[list(data.clips).index(clip)]
    shown = list(range(1, span(p), EVERY))
    answers = {}
    for name, model in networks.items():
        device = next(model.parameters()).device
        stacks = []
        for stream in INPUTS[name]:
            whole = network_input({stream: item[stream][None, :1].to(device)}, [stream])[0]
            stacks.append(torch.cat([so_far(whole, stream, number, p) for number in shown]))
        answers[name] = model.eval()(*stacks).float().softmax(1).cpu().numpy()
    return Story(clip, item["label"], shown, answers)


def so_far(stack: torch.Tensor, stream: str, number: int, p) -> torch.Tensor:
    """A normalised stack ``(1, C, S, S)`` of which only what comes up to a frame was seen."""
    rgb = stream == "rgb"
    count, step, colours = (p.rgb_frames, p.rgb_step, 3) if rgb else (p.flow_fields, p.flow_step, 2)
    seen = colours * min(count, 1 + (number - 1) // step)
    out = stack.clone()
    if rgb:
        last = stack[:, seen - colours : seen]
        out[:, seen:] = last.repeat(1, count - seen // colours, 1, 1)
    else:
        out[:, seen:] = 0  # rest
    return out


def frames(c: Course, story: Story) -> list[Image.Image]:
    """The images of one clip."""
    rgb = c.store.read_rgb(story.clip, story.shown)
    fields = [field_at(c.store, story.clip, number) for number in story.shown]
    flow = decode(c.store.read_flow(story.clip, fields))
    top = max(fastest(flow, 0.995), SLOWEST)
    images = []
    for k, (picture, field) in enumerate(zip(rgb, flow, strict=True)):
        coloured = with_small_wheel(np.asarray(enlarged(flow_to_rgb(field, top))), HEIGHT // 5)
        image = Image.new("RGB", (2 * WIDTH + PANEL + 4 * GAP, HEIGHT + TITLE + GAP), "white")
        draw = ImageDraw.Draw(image)
        draw.text((GAP, 6), "what it looks like", INK, font(15, bold=True))
        draw.text((WIDTH + 2 * GAP, 6), "how it moves", INK, font(15, bold=True))
        image.paste(enlarged(picture), (GAP, TITLE))
        image.paste(Image.fromarray(coloured), (WIDTH + 2 * GAP, TITLE))
        panel(draw, 2 * WIDTH + 3 * GAP, c.classes, story, k)
        images.append(image)
    return images


def enlarged(picture: np.ndarray) -> Image.Image:
    """A picture at the size of the figure, cut to its shape."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    return ImageOps.fit(image, (WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def panel(draw: ImageDraw.ImageDraw, x: int, classes: list[str], story: Story, k: int) -> None:
    """Three bars: what each network gives to the right class, and what it says."""
    draw.text((x, 6), f"is it {classes[story.truth]}?", INK, font(15, bold=True))
    for row, (name, (title, colour)) in enumerate(NETWORKS.items()):
        answer, y = story.answers[name][k], TITLE + 82 * row
        right = int(answer.argmax()) == story.truth
        draw.text((x, y), title, colour, font(15, bold=True))
        draw.rectangle((x, y + 24, x + PANEL, y + 44), TRACK)
        share = float(answer[story.truth])
        draw.rectangle((x, y + 24, x + max(1, round(share * PANEL)), y + 44), colour)
        number = f"{100 * share:.0f} %"
        draw.text((x + PANEL, y + 2), number, INK, font(15), anchor="ra")
        said = f"says {classes[int(answer.argmax())]} {'✓' if right else '✗'}"
        draw.text((x, y + 50), said, INK if right else PALE, font(13))


def save(clips: list[list[Image.Image]], path: Path) -> None:
    """Write one animation that starts again at its end."""
    images = [image for clip in clips for image in clip]
    times = [HOLD_MS if image is clip[-1] else FRAME_MS for clip in clips for image in clip]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=times, loop=0, quality=70, method=4
    )


def main() -> None:
    os.environ.setdefault("TWOSTREAM_PROFILE", "mini")
    c = setup("mini", quiet=True)
    networks = {name: c.trained(name) for name in NETWORKS}
    stories = (watch(c, networks, clip) for clip in rescued(c))
    right = (story for story in stories if story.answers["conv"][-1].argmax() == story.truth)
    found = [*islice(right, CLIPS)]
    if not found:
        raise SystemExit("no test clip that conv fusion alone gets right")
    for story in found:
        ends = {name: f"{100 * a[-1, story.truth]:.0f} %" for name, a in story.answers.items()}
        print(f"{story.clip}: {ends}")
    save([frames(c, story) for story in found], OUT)
    print(f"wrote {OUT.relative_to(ROOT)}, {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""The original's loader as a recipe, for measuring against: one JPEG at a time, through PIL.

Every RGB frame gets a random crop and a flip of its own and is concatenated to those before it;
every flow field is resized, turned to float and normalised by itself, u and v as two files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..stacks import RGB_MEAN, RGB_STD
from ..store import FrameStore

RGB_FRAMES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
FLOW_FIELDS = tuple(range(1, 100, 2))


class OriginalClips(Dataset):
    """Clips out of a folder of JPEGs, ``<root>/{jpegs_256,tvl1_flow/u,tvl1_flow/v}/<clip>``.

    Items are ``(3·frames, crop, crop)`` and ``(2·fields, crop, crop)`` float32 and a label: the
    same frames each time (1-based numbers), and the first field at the end of its stack.
    """

    def __init__(
        self, root: str | Path, clips: Sequence[str], labels: Sequence[int], crop: int = 224,
        rgb_frames: Sequence[int] = RGB_FRAMES, flow_fields: Sequence[int] = FLOW_FIELDS,
    ):  # fmt: skip
        from torchvision import transforms  # two seconds, which those who only write can do without

        self.root, self.clips, self.labels = Path(root), list(clips), list(labels)
        self.crop, self.rgb_frames, self.flow_fields = crop, rgb_frames, flow_fields
        to_float = transforms.ToTensor()
        self.rgb_transform = transforms.Compose([
            transforms.RandomCrop(crop), transforms.RandomHorizontalFlip(), to_float,
            transforms.Normalize(RGB_MEAN, RGB_STD),
        ])  # fmt: skip
        # The torchvision of 2018 gave a single channel the figures of the first colour.
        self.flow_transform = transforms.Compose([
            transforms.Resize([crop, crop]), to_float,
            transforms.Normalize(RGB_MEAN[:1], RGB_STD[:1]),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        clip = self.clips[index]
        rgb = None
        for number in self.rgb_frames:
            with Image.open(self._path("jpegs_256", clip, number)) as image:
                frame = self.rgb_transform(image)
            rgb = frame if rgb is None else torch.cat((rgb, frame))
        flow = torch.empty(2 * len(self.flow_fields), self.crop, self.crop)
        for j, number in enumerate(self.flow_fields):
            for part, place in ("u", 2 * (j - 1)), ("v", 2 * (j - 1) + 1):
                with Image.open(self._path(f"tvl1_flow/{part}", clip, number)) as image:
                    flow[place] = self.flow_transform(image)
        return rgb, flow, self.labels[index]

    def _path(self, folder: str, clip: str, number: int) -> Path:
        return self.root / folder / clip / f"frame{number:06d}.jpg"


def write_folders(store: FrameStore, clips: Iterable[str], folder: str | Path) -> None:
    """Write frames and flow of ``clips`` to ``folder`` as the JPEG files that the recipe reads."""
    for clip in clips:
        frames, fields = range(1, store.n_frames(clip) + 1), store.flow_numbers(clip).tolist()
        flow, rgb = store.read_flow(clip, fields), store.read_rgb(clip, frames)[..., ::-1]
        for place, numbers, pictures in (
            ("jpegs_256", frames, rgb),
            ("tvl1_flow/u", fields, flow[..., 0]),
            ("tvl1_flow/v", fields, flow[..., 1]),
        ):
            target = Path(folder) / place / clip
            target.mkdir(parents=True)
            for number, picture in zip(numbers, pictures):
                data = cv2.imencode(".jpg", picture)[1]  # imwrite fails in silence where a folder
                (target / f"frame{number:06d}.jpg").write_bytes(data)  # of Windows has an umlaut

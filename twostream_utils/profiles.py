"""Profiles: the same course at different scales. A profile changes sizes, never code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches

from .splits import UCF101_CLASSES

# The stacks that each network reads.
INPUTS = {"spatial": ("rgb",), "temporal": ("flow",), "conv": ("rgb", "flow")}
SIZES = "rgb_frames rgb_step flow_fields flow_step chunks short_side crop positions".split()
WORDS = {"sampling": ("spaced", "random", "segments"), "train_crops": ("squares", "corners")}


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: about ``steps`` steps of ``batch_size`` clips, in whole epochs.

    Peak learning rate ``lr`` after ``warmup`` (a fraction of all steps), then a cosine down to
    zero; ``trunk_lr`` times that for the trunks of conv fusion, 0 to leave them as they are.
    ``dropout`` of both hidden layers, or a pair of rates.
    """

    steps: int
    lr: float
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 5e-4
    dropout: float | tuple[float, float] = 0.5
    clip_norm: float = 5.0
    label_smoothing: float = 0.0
    trunk_lr: float = 0.0

    def epochs(self, clips: int) -> int:
        """Number of passes over ``clips`` training clips that come nearest to ``steps``."""
        return max(1, round(self.steps * self.batch_size / clips))


@dataclass(frozen=True)
class Profile:
    """Every size that a notebook needs, by name.

    Frames and flow are in ``data/<data>``. ``source`` is the command of ``data_scripts`` that
    fetches the videos, ``"generated"``, or empty for your own; ``flow`` one of ``flow.ALGORITHMS``.
    ``rgb_frames`` frames ``rgb_step`` apart make the spatial stack, ``flow_fields`` fields
    ``flow_step`` apart the temporal one, ``sampling`` as in ``views.sampled_positions``;
    ``subtract_mean`` takes its mean from each field. ``short_side`` is the height of the stored
    frames, ``crop`` the side of what the network sees, in px; ``train_crops``, ``min_scale`` as in
    ``views.random_view``, ``positions``, ``crops`` as in ``views.eval_views``, ``weights`` as in
    ``vgg.load_weights``. ``fusion``, one of ``conv_fusion.FORMS``, after block ``fusion_block``,
    joins ``chunks`` pairs of stacks. Steps of recipes are for ``recipe_clips`` training clips and
    grow with their square root; 0: they are as they are. An epoch draws every clip equally often,
    ``epoch_clips`` views or more in all. ``val_fraction`` of the training clips, whole groups, are
    held out and scored every ``val_every`` epochs. Raises ``ValueError`` for one of :data:`SIZES`
    that is not a whole number from 1 up, and for a word that is none of :data:`WORDS`.
    """

    name: str
    title: str
    data: str = "ucf101"
    source: str = "fetch_ucf101.py --profile {name}"
    flow: str = "dis"
    rgb_frames: int = 10
    rgb_step: int = 10
    flow_fields: int = 50
    flow_step: int = 2
    sampling: str = "spaced"
    subtract_mean: bool = True
    short_side: int = 256
    crop: int = 224
    train_crops: str = "corners"
    min_scale: float = 0.75
    width: float = 1.0
    batch_norm: bool = False
    weights: str = "imagenet"
    rgb_first_layer: str = "inflate"
    flow_first_layer: str = "mean"
    fusion: str = "conv"
    fusion_block: int = 5
    chunks: int = 1
    positions: int = 5
    crops: str = "five"
    split_rule: str = "official"
    val_fraction: float = 0.1
    val_every: int = 5
    group_pattern: str | None = None
    classes: tuple[str, ...] | None = None
    cache_gb: float = 0.0
    epoch_clips: int = 4000
    recipe_clips: int = 0
    # 0.5, 3 and 0.25 million stacks of UCF101. Published flow streams saw 3 to 15 million, at
    # rates of 1e-3 to 5e-3 for batches of 125 to 256; dropout as in Wang et al. 2015.
    spatial: Recipe = Recipe(8_000, 1e-3, 64, dropout=0.85)
    temporal: Recipe = Recipe(47_000, 2e-3, 64, dropout=(0.9, 0.8))
    conv: Recipe = Recipe(4_000, 1e-3, 64, dropout=0.85)

    def __post_init__(self):
        for name in SIZES:
            if not hasattr(value := getattr(self, name), "__index__") or value < 1:
                raise ValueError(f"{name} must be a whole number from 1 up, not {value!r}")
            object.__setattr__(self, name, int(value))  # NumPy's would name other checkpoints
        for name, words in WORDS.items():
            if (word := getattr(self, name)) not in words:
                raise ValueError(f"no {name} {word!r}; there are {', '.join(words)}")

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels of each stack: three colours a frame, u and v a field."""
        return {"rgb": 3 * self.rgb_frames, "flow": 2 * self.flow_fields}

    @property
    def fusion_choices(self) -> dict[str, str | int]:
        """What ``conv_fusion.fuse_streams`` makes of two streams here."""
        return {"form": self.fusion, "block": self.fusion_block, "chunks": self.chunks}

    def over_time(self) -> Profile:
        """The sizes of ``chunks`` moments in a row, each with its frames and fields."""
        frames, fields = self.chunks * self.rgb_frames, self.chunks * self.flow_fields
        apart = max(1, self.flow_fields * self.flow_step // self.rgb_frames)
        return replace(self, rgb_frames=frames, rgb_step=apart, flow_fields=fields, chunks=1)

    def shaping(self, network: str) -> dict:
        """All sizes that the weights of ``network`` depend on, as plain values."""
        free = {"title", "data", "source", "flow", "cache_gb", "positions", "crops", "val_every"}
        free |= {"fusion", "fusion_block", "chunks"}  # choices: see ``Course.checkpoint``
        if network != "conv":
            free |= set(INPUTS) - {network}
        told = asdict(self).items()
        return {k: v for k, v in told if k not in free and (k, v) != ("recipe_clips", 0)}


def _recipes(profile: Profile, *steps: int, **changes) -> dict[str, Recipe]:
    """The recipes of ``profile`` with other steps for spatial, temporal and conv."""
    return {name: replace(getattr(profile, name), steps=count, **changes)
            for name, count in zip(INPUTS, steps)}  # fmt: skip


_SMALL = Profile(
    "mini", "generated clips, quarter-width VGG-19, minutes on a laptop",
    data="mini", source="generated", flow="dis_small", rgb_step=5, flow_step=1, short_side=72,
    crop=64, train_crops="squares", min_scale=0.8, width=0.25, batch_norm=True, weights="stills",
    positions=3, crops="centre", val_every=1, cache_gb=3.0, epoch_clips=0,
    spatial=Recipe(120, 0.02), temporal=Recipe(260, 0.02), conv=Recipe(200, 0.05),
)  # fmt: skip

# Few real clips: stacks of most of a stride, short enough for many different ones in each clip.
_FOLDER = replace(
    _SMALL, name="folder", title="your own folder of labelled videos, <class>/<clip>.avi",
    data="folder", source="", short_side=80, crop=72, split_rule="folds", val_fraction=0.0,
    rgb_frames=5, flow_fields=20, positions=8, crops="five", fusion="two_towers", epoch_clips=480,
    recipe_clips=60, subtract_mean=False, spatial=Recipe(210, 0.02, label_smoothing=0.1),
    temporal=Recipe(360, 0.02, label_smoothing=0.1), conv=Recipe(60, 0.01, label_smoothing=0.1),
)  # fmt: skip

# Ten classes that share their places, two and two or more: the place alone does not tell.
_UCF10 = (
    "BrushingTeeth", "ShavingBeard", "ApplyEyeMakeup", "ApplyLipstick", "FrontCrawl",
    "BreastStroke", "CricketBowling", "CricketShot", "HammerThrow", "ThrowDiscus",
)  # fmt: skip
_UCF101 = Profile("ucf101", "all of UCF101, hours on a GPU", classes=UCF101_CLASSES)

PROFILES = {profile.name: profile for profile in (
    _SMALL,
    _FOLDER,
    replace(
        _FOLDER, name="weizmann", title="Weizmann actions: 90 real clips, 10 actions, 9 persons",
        data="weizmann", source="fetch_weizmann.py", group_pattern="^([a-z]+)_",
    ),
    replace(
        _FOLDER, name="folder_full", title="your own folder, VGG-19 of full width from ImageNet",
        data="folder_full", flow="dis", short_side=256, crop=224, width=1.0, batch_norm=False,
        weights="imagenet", cache_gb=0.0,
        **_recipes(_UCF101, 420, 720, 120, batch_size=16, label_smoothing=0.1),
    ),
    replace(_UCF101, name="ucf10", title="ten classes that share places, a lesson on a GPU",
            classes=_UCF10, **_recipes(_UCF101, 1_000, 2_000, 400)),
    replace(_UCF101, name="ucf20", title="the first 20 classes of UCF101, an evening",
            classes=UCF101_CLASSES[:20], **_recipes(_UCF101, 2_000, 4_000, 800)),
    _UCF101,
    replace(  # Feichtenhofer et al. 2016, as near as these parts come
        _UCF101, name="paper", title="UCF101 as published: 1 frame, 10 TV-L1 fields, 5 moments",
        data="ucf101_tvl1", flow="tvl1", rgb_frames=1, flow_fields=10, flow_step=1, positions=10,
        fusion="paper", chunks=5, val_fraction=0.0, **_recipes(_UCF101, 20_000, 47_000, 4_000),
    ),
)}  # fmt: skip


def get_profile(name: str, **changes) -> Profile:
    """Return a profile, ``changes`` made. Raises ``ValueError`` for unknown names and fields."""
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; there are: {', '.join(PROFILES)}")
    known = [field.name for field in fields(Profile)]
    for change in changes:
        if change not in known:
            meant = get_close_matches(change, known, 1) or known
            raise ValueError(f"a profile has no {change!r}; did you mean {', '.join(meant)}?")
    return replace(PROFILES[name], **changes)

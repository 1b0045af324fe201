"""The count of a step's memory agrees with what autograd keeps."""

import pytest
import torch

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.lab.memory import clip_bytes, kept_bytes, parameter_bytes
from twostream_utils.profiles import INPUTS, get_profile
from twostream_utils.vgg import vgg19


def autograd_keeps(model, *inputs):
    """Bytes of all tensors that a forward pass in bfloat16 saves, each once, without weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # alive: no address comes twice
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        model.train()(*inputs)
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize(
    ("width", "crop", "channels", "norm"), [(1 / 8, 96, 30, False), (1 / 4, 64, 100, True)]
)
def test_kept_is_what_autograd_keeps(width, crop, channels, norm):
    model = vgg19(channels, 10, width, norm)
    two, five = (autograd_keeps(model, torch.zeros(n, channels, crop, crop)) for n in (2, 5))
    kept, passing = kept_bytes(model, torch.zeros(1, channels, crop, crop))
    assert (five - two) / 3 == pytest.approx(kept, rel=0.02) and passing == 0
    fusion = ConvFusion(*(vgg19(channels, 10, width, norm) for _ in range(2)))
    stacks = torch.zeros(1, channels, crop, crop), torch.zeros(1, channels, crop, crop)
    kept, passing = kept_bytes(fusion, *stacks)
    first, second = channels + 64 * width, 128 * width  # channels into and out of a layer
    assert passing == 2 * max(first, second) * crop**2 > 10 * kept


def test_a_t4_holds_the_recipes_batch_of_every_full_size_network():
    """15 GB of 10⁹ bytes; VGG-19 at 224 px keeps 14.8 M activations, 1.5 M maxima a clip."""
    profile = get_profile("ucf101")
    with torch.device("meta"):
        streams = [vgg19(profile.channels[kind], 101) for kind in ("rgb", "flow")]
        networks = dict(zip(INPUTS, (*streams, ConvFusion(*streams))))
        for name, model in networks.items():
            stacks = [torch.empty(1, profile.channels[kind], 224, 224) for kind in INPUTS[name]]
            per_clip, fixed = clip_bytes(model, *stacks), parameter_bytes(model)
            assert 96 * per_clip + fixed < 0.8 * 15e9  # 96: the batch of 2016
            if name == "temporal":
                convs = 2 * 64 + 2 * 128 / 4 + 4 * 256 / 16 + 4 * 512 / 64 + 4 * 512 / 256
                pools = 64 / 4 + 128 / 16 + 256 / 64 + 512 / 256 + 512 / 1024
                by_hand = 7 * 100 + 2 * convs + 10 * pools  # bytes a pixel
                assert per_clip / 224**2 == pytest.approx(by_hand, rel=0.01)

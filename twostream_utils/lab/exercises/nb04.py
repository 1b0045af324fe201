"""Checkers of notebook 04: pre-trained weights on their way into a network for N channels."""

import torch

from ...vgg import VGG, fold_batch_norm
from .checking import ExerciseError, checker, compare, picture, prediction, unchanged

__all__ = ["picture", "prediction", "pretrained_vgg"]

WIDTH = 1 / 16
FIRST, LAST = "features.0.weight", "classifier.6."


def _rgb_weights(num_classes: int) -> dict[str, torch.Tensor]:
    """Weights of a small RGB network, every tensor and buffer unlike that of a new one."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(tensor.shape, generator=generator) + 0.5
        if tensor.is_floating_point()
        else tensor + 7
        for name, tensor in VGG(3, num_classes, WIDTH, True).state_dict().items()
    }


@checker("Averaged, rescaled and copied by name; what fits nowhere does not pass unnoticed.")
def pretrained_vgg(answer):
    """``answer(state, in_channels, num_classes, width, batch_norm)`` → a network.

    ``state`` holds the weights of an RGB network; the first layer is to be averaged and rescaled.
    """
    state, channels, given = _rgb_weights(5), 12, _rgb_weights(5)
    with unchanged("A tensor of the state that came in was changed", *given.values()):
        made = _weights(answer(given, channels, 7, WIDTH, True))
    if list(given) != list(state) or any(given[n].shape != state[n].shape for n in state):
        raise ExerciseError("The state that came in was changed; work on dict(state), a copy")
    first = state[FIRST].numpy()
    mean = first.mean(1, keepdims=True).repeat(channels, axis=1)
    fresh = "The first layer is new; it should come from the pre-trained filters"
    if made[FIRST].shape == mean.shape and not made[FIRST].std(dim=1).max() < 1e-5:
        raise ExerciseError(f"{fresh}, each averaged over its colours")
    slips = {
        "Not rescaled: equal channels would respond N / 3 times as strongly": mean,
        "Divided by N, but three channels gave the old response: the factor is 3 / N": (
            mean / channels
        ),
        "All filters are equal: filter 0 was taken for all": 0 * mean + mean[:1] * 3 / channels,
        "Three times too large: take the mean over RGB, not the sum": mean * 9 / channels,
    }
    compare(made[FIRST], mean * 3 / channels, "the first layer's weight", slips)
    for name, tensor in state.items():
        if name == FIRST or name.startswith(LAST):
            continue
        if not torch.equal(made[name], tensor):
            raise ExerciseError(
                "The first layer's bias is not the one that was learned; it stays as it is"
                if name == "features.0.bias"
                else f"{name} was not copied. State dicts also hold batch norm's running statistics"
                if "running" in name or "tracked" in name
                else f"{name} was not copied"
            )
    if made[LAST + "weight"].shape[0] != 7:
        raise ExerciseError("The last layer should have 7 rows here, num_classes of them")
    same = _weights(answer(_rgb_weights(5), 3, 5, WIDTH, True))
    compare(
        same[FIRST], first, "the first layer for 3 channels",
        {"A network for 3 channels keeps its colours: leave the first layer as it is": (
            first.mean(1, keepdims=True).repeat(3, axis=1)
        )},
    )  # fmt: skip
    if not torch.equal(same[LAST + "weight"], state[LAST + "weight"]):
        raise ExerciseError("With as many classes as in the state, its last layer should be copied")
    plain = fold_batch_norm(_rgb_weights(5))
    if not torch.equal(_weights(answer(plain, 12, 5, WIDTH, False))["features.2.weight"],
                       plain["features.2.weight"]):  # fmt: skip
        raise ExerciseError("Without batch norm the weights are not copied")
    wrong = _rgb_weights(5)
    wrong["features.3.weight"] = wrong["features.3.weight"][:, :2]
    try:
        answer(wrong, 12, 7, WIDTH, True)
    except Exception:  # of whatever kind: it was noticed
        return
    raise ExerciseError(
        "A second layer of the wrong shape was skipped without a word. Only the last layer may be"
    )


def _weights(model: object) -> dict[str, torch.Tensor]:
    if not isinstance(model, torch.nn.Module):
        raise ExerciseError(f"Return the network, not {type(model).__name__}")
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}

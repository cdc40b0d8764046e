"""The moving average of the weights: its value, its place in the model, its way through a checkpoint."""

from pathlib import Path

import torch

from brainmri.training.optimizer import MovingAverage


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))


def test_the_average_follows_the_weights_and_takes_their_place(tmp_path: Path) -> None:
    model = network()
    average = MovingAverage(model, decay=0.5)
    expected = None
    for step in range(1, 8):
        for tensor in model.state_dict().values():
            tensor.copy_(torch.full_like(tensor, step))
        average.update(step)
        # timm's warm-up: the first two steps weigh fully, then 1 - step ** (-2/3) until the decay is reached.
        decay = 0.0 if step <= 1 else min(1 - step ** (-2 / 3), 0.5)
        expected = float(step) if expected is None else decay * expected + (1 - decay) * step
    with average.in_place():
        torch.testing.assert_close(model[0].weight, torch.full_like(model[0].weight, expected))
        torch.testing.assert_close(model[1].running_mean, torch.full((2,), expected))
    assert (model[0].weight == 7).all()

    average.save(tmp_path)
    again = MovingAverage(network(), decay=0.5)
    again.load(tmp_path)
    again.hand_over()
    torch.testing.assert_close(again.model[0].weight, torch.full_like(model[0].weight, expected))
    assert int(again.model[1].num_batches_tracked) == 7

from __future__ import annotations

import pytest
import torch
from torch import nn

from smash.exporting.layers import layer_code, torch_layer
from smash.spaces.layers import batch_norm, convolution


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), "nn.Conv2d(3, 8, 3, padding=1, bias=False)"),
        (nn.Conv1d(4, 4, 5, padding="same", groups=2), None),
        (
            convolution(2, 4, (3, 5), stride=2, dilation=(1, 2)),
            "nn.Conv2d(2, 4, (3, 5), stride=2, padding=(1, 4), dilation=(1, 2), bias=False)",
        ),
        (batch_norm(4, 3), "nn.BatchNorm3d(4)"),
        (nn.BatchNorm2d(4, eps=1e-3, affine=False), "nn.BatchNorm2d(4, eps=0.001, affine=False)"),
        (nn.Linear(3, 4), "nn.Linear(3, 4)"),
        (nn.AvgPool2d(3, 2, ceil_mode=True), "nn.AvgPool2d(3, stride=2, ceil_mode=True)"),
        (nn.AvgPool2d(2, count_include_pad=False), "nn.AvgPool2d(2, count_include_pad=False)"),
        (nn.LayerNorm((8, 8), elementwise_affine=False), None),
        (nn.Upsample(scale_factor=2), "nn.Upsample(scale_factor=2.0)"),
        (nn.Hardtanh(0, 6), "nn.Hardtanh(min_val=0, max_val=6)"),
        (nn.GRU(3, 5, batch_first=True), "nn.GRU(3, 5, batch_first=True)"),
        (nn.MultiheadAttention(8, 2), "nn.MultiheadAttention(8, 2)"),
        (nn.ReLU(inplace=True), "nn.ReLU(inplace=True)"),
        (nn.PReLU(3), "nn.PReLU(num_parameters=3)"),
        (nn.Identity(), "nn.Identity()"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_the_code_makes_such_a_layer(layer, code):
    found = layer_code(layer)
    assert found is not None
    assert code is None or found == code
    made = eval(found, {"nn": nn})  # noqa: S307
    kind = torch_layer(layer)
    assert kind is not None
    assert type(made) is kind
    assert repr(made).removeprefix("_") == repr(layer).removeprefix("_")
    shapes = {name: value.shape for name, value in layer.state_dict().items()}
    assert {name: value.shape for name, value in made.state_dict().items()} == shapes


def test_a_layer_that_computes_in_its_own_way_is_none_of_torchs():
    class Doubled(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            return 2 * super().forward(input)

    assert layer_code(Doubled(1, 1, 1)) is None
    assert layer_code(nn.Sequential(nn.ReLU())) is None
    assert layer_code(nn.ModuleList()) is None


def test_a_layer_that_was_changed_after_it_was_made_is_told_so():
    norm = nn.BatchNorm2d(4)
    norm.eps = 0.5
    assert layer_code(norm) == "nn.BatchNorm2d(4, eps=0.5)"

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from smash.errors import DataError
from smash.exporting.signature import ShippedNetwork, Signature

SIGNATURE = Signature(
    classes=("a", "b\n\"'\u2028é"),
    channels=2,
    size=(4, 5),
    scaled=True,
    mean=(0.5, 0.25),
    std=(0.1, 1.0),
)


def test_it_is_read_back_as_it_was_written():
    text = SIGNATURE.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Signature.from_json(text) == SIGNATURE
    more = json.dumps({**json.loads(text), "id": "abc"})
    assert Signature.from_json(more) == SIGNATURE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        SIGNATURE.to_json().replace("true", '"yes"'),
        SIGNATURE.to_json().replace("[4, 5]", "[4, 5.5]"),
        SIGNATURE.to_json().replace("[4, 5]", "[]"),
        SIGNATURE.to_json().replace("[0.5, 0.25]", "[0.5]"),
        SIGNATURE.to_json().replace("[0.5, 0.25]", "[NaN, 0.25]"),
        SIGNATURE.to_json().replace("[0.1, 1.0]", "[0.0, 1.0]"),
        SIGNATURE.to_json().replace('"channels": 2', '"channels": true'),
    ],
)
def test_what_is_no_signature_is_refused(text):
    with pytest.raises(DataError):
        Signature.from_json(text)


def test_all_faults_are_told_at_once():
    with pytest.raises(DataError) as caught:
        replace(SIGNATURE, classes=(), size=(0, 4), std=(1.0,))
    assert len(caught.value.faults) == 3


def test_the_network_normalises_each_channel():
    network = ShippedNetwork(nn.Identity(), SIGNATURE)
    images = torch.zeros(1, 2, 4, 5)
    images[:, 0] = 0.7
    found = network(images)
    assert torch.allclose(found[:, 0], torch.tensor(2.0))
    assert torch.allclose(found[:, 1], torch.tensor(-0.25))
    assert network.state_dict() == {}

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import smash
from smash.runtime.rng import seeded
from tests.spaces.chain import ChainSpace


class _Dropping(ChainSpace):
    """Drops a share of what the classifier reads."""

    def __init__(self, share: float) -> None:
        super().__init__(2)
        self.share = share

    def network(self, architecture, task):
        child = super().network(architecture, task)
        child.blocks.append(torch.nn.Dropout(self.share))
        return child


def test_torchs_global_generator_is_as_before_afterwards():
    cpu = torch.device("cpu")
    before = torch.get_rng_state()
    drawn = []
    for number in (0, 1, 0):
        with seeded(3, "dropout", number, cpu):
            drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[2] != drawn[1]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def trained(few_digits, tmp_path, monkeypatch):
    """Weights of a network and of a child, both trained, and a state of torch's that they find."""

    def train(share: float, state: int) -> tuple[dict[str, torch.Tensor], ...]:
        monkeypatch.setitem(smash.SPACES, "dropping", lambda *_: _Dropping(share))
        path = tmp_path / f"{share}-{state}"
        torch.manual_seed(state)
        run = smash.train(few_digits, path, space="dropping", epochs=1, device="cpu")
        smash.search(run, random=1, perturb=0, markov=0, device="cpu")
        torch.manual_seed(state)
        child = smash.retrain(run, rank=0, epochs=1, device="cpu")
        return load_file(path / "network.safetensors"), load_file(child.path / "model.safetensors")

    return train


def test_a_childs_own_dropout_repeats_itself(trained):
    once, again, without = trained(0.5, 1), trained(0.5, 2), trained(0.0, 1)
    for one, same, other in zip(once, again, without, strict=True):
        assert all(torch.equal(value, same[name]) for name, value in one.items())
        assert not all(torch.equal(value, other[name]) for name, value in one.items())

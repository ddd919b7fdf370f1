"""Timing of training steps, to find how many fit into the minutes of a budget."""

from __future__ import annotations

import copy
import time

import torch

from smash.hypernet import SmashNetwork
from smash.run.run import Run
from smash.training.smash_network import SmashTraining, sampler_of

_TIMED_STEPS = 24
_TIMED_SHARE = 0.05  # of the minutes asked for, at most, goes into timing


def steps_in(minutes: float, run: Run, network: SmashNetwork) -> int:
    """Estimates how many training steps fit in a time, with the validations between them.

    Architectures grow during training, so the first steps alone would promise too many. The timed
    steps are therefore spread over the whole of a training. They start from its middle and go
    outwards, so that they stay spread where there is time for a few only.

    Args:
        minutes: The time, from now on.
        run: The run; it does not need a folder yet.
        network: Its SMASH network, which is not changed.
    """
    started = time.monotonic()
    device = torch.device(run.settings.device)
    plan = run.settings.training.replaced(steps=_TIMED_STEPS)
    trial = SmashTraining(
        copy.deepcopy(network).to(device),
        run.search_data.to(device),
        plan,
        run.settings.seed,
        sampler=sampler_of(run),
    )
    trial.step(0)  # the first step is slower than all that follow
    middle_out = sorted(range(_TIMED_STEPS), key=lambda step: abs(2 * step + 1 - _TIMED_STEPS))
    begun, timed = time.monotonic(), 0
    for step in middle_out:
        trial.step(step)
        timed += 1
        if timed % 2 == 0 and time.monotonic() - begun > _TIMED_SHARE * 60 * minutes:
            break
    seconds = (time.monotonic() - begun) / timed
    begun = time.monotonic()
    trial.validate(epoch=1)
    seconds += (time.monotonic() - begun) / trial.per_epoch
    left = 60 * minutes - (time.monotonic() - started)
    return max(1, int(left / seconds))

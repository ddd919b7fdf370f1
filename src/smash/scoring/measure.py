"""Measuring companions of architectures; a run's ledger keeps what was measured.

So `smash search` and `smash correlate` measure each architecture once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from smash.data import batches
from smash.hypernet import SmashNetwork
from smash.io.measurements import Ledger, kind_of
from smash.profiling.cost import measure_cost
from smash.run.layout import network_digest
from smash.run.run import Run
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import torch_generator
from smash.scoring.proxies import COSTS, PROXIES, Numbers, Subject
from smash.spaces.parameters import initialise

_SEED = 0


def measure_companion(
    run: Run,
    name: str,
    architectures: Sequence[tuple[str, Any]],
    ledger: Ledger,
    device: torch.device,
    progress: Progress = silent,
    network: SmashNetwork | None = None,
) -> list[Numbers]:
    """Measures architectures by a companion; what the ledger knows is not measured again.

    Args:
        run: The run that they are for.
        name: One of `COMPANIONS`.
        architectures: Ids and architectures.
        ledger: Where numbers are kept.
        device: Where proxies are computed.
        progress: Shows how far it is.
        network: The run's network on that device, where it is at hand; read where it is needed.
    """
    if name in COSTS:
        rows = ledger.measure("cost", architectures, lambda one: _cost(run, one))
        return [(row[name],) for row in rows]
    proxy = PROXIES[name]
    data, space = run.data, run.space
    if proxy.trained:
        data, space = run.search_data, run.search_space
    first = data.train.first_views
    order = torch.randperm(len(first), generator=torch_generator(0, "proxy examples"))
    sample = next(batches(first, proxy.examples, order[: proxy.examples]))
    images = data.normalise(sample.images).to(device)
    source, weights_of = None, {"seed": str(_SEED)}
    if proxy.trained:
        source = (network or run.network(device)).source
        weights_of = {"network": network_digest(run.path)}
    kind = kind_of(proxy.name, examples=len(images), **weights_of)

    def found(architecture: Any) -> Mapping[str, float]:
        child = space.build(architecture, data.task, str(device))
        if source is None:
            initialise(child, torch_generator(_SEED, "proxy weights"))
        else:
            with torch.no_grad():
                weights = source(architecture, child)
            child.load_state_dict(weights, strict=False)  # buffers stay as they are built
        macs = measure_cost(space, architecture, data.task).macs
        subject = Subject(child=child, stages=space.stages(child), macs=macs)
        generator = torch_generator(_SEED, f"proxy {proxy.name}")
        return {str(part): value for part, value in enumerate(proxy(subject, images, generator))}

    rows = ledger.measure(kind, architectures, found, progress)
    parts = [str(part) for part in range(max(map(len, rows), default=0))]
    return [
        tuple(row[part] if math.isfinite(row[part]) else -math.inf for part in parts)
        for row in rows
    ]


def _cost(run: Run, architecture: Any) -> Mapping[str, float]:
    found = measure_cost(run.space, architecture, run.data.task)
    return {"params": found.params, "macs": found.macs}

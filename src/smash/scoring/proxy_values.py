"""Values of proxies, measured once and kept in the log of measurements of a run.

So `smash search` and `smash correlate` measure each architecture once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch

from smash.data.batches import batches
from smash.hypernet import SmashNetwork
from smash.io.measurements import MeasurementLog, measurement_kind
from smash.profiling.cost import measure_cost
from smash.run.layout import network_digest
from smash.run.run import Run
from smash.runtime.progress import Progress, silent
from smash.runtime.rng import torch_generator
from smash.scoring.priors import ProxyValues
from smash.scoring.proxies import PROXIES, Proxy, Subject
from smash.scoring.proxy_names import JOIN, SIZE_PROXIES, SMOOTHING
from smash.spaces.parameters import initialise

_SEED = 0


def measure_proxy(
    run: Run,
    name: str,
    architectures: Sequence[tuple[str, Any]],
    log: MeasurementLog,
    device: torch.device,
    progress: Progress = silent,
    network: SmashNetwork | None = None,
) -> list[ProxyValues]:
    """Measures a proxy of architectures, except of those in the log.

    Args:
        run: The run that the architectures are for.
        name: One of `PROXY_NAMES`, or several joined by ``+``, whose values follow each other;
            those of `SMOOTHING` have none.
        architectures: Ids and architectures.
        log: Holds the values.
        device: Device to compute on.
        progress: Shows progress.
        network: The run's SMASH network on `device`, if it is loaded; loaded only where needed.
    """
    if JOIN in name:
        columns = [
            measure_proxy(run, part, architectures, log, device, progress, network)
            for part in name.split(JOIN)
        ]
        return [tuple(chain(*values)) for values in zip(*columns, strict=True)]
    if name in SMOOTHING:
        return [()] * len(architectures)
    if name in SIZE_PROXIES:
        costs = (measure_cost(run.space, each, run.data.task) for _, each in architectures)
        return [(float(getattr(cost, name)),) for cost in costs]
    return _measure(run, PROXIES[name], architectures, log, device, progress, network)


def _measure(
    run: Run,
    proxy: Proxy,
    architectures: Sequence[tuple[str, Any]],
    log: MeasurementLog,
    device: torch.device,
    progress: Progress,
    network: SmashNetwork | None,
) -> list[ProxyValues]:
    """Measures a proxy that is computed on examples."""
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
    kind = measurement_kind(proxy.name, examples=len(images), **weights_of)

    def values_of(architecture: Any) -> Mapping[str, float]:
        child = space.build(architecture, data.task, str(device))
        if source is None:
            initialise(child, torch_generator(_SEED, "proxy weights"))
        else:
            with torch.no_grad():
                weights = source(architecture, child)
            child.load_state_dict(weights, strict=False)  # buffers stay as they were built
        macs = measure_cost(space, architecture, data.task).macs
        subject = Subject(child=child, stages=space.stages(child), macs=macs)
        generator = torch_generator(_SEED, f"proxy {proxy.name}")
        return {str(part): value for part, value in enumerate(proxy(subject, images, generator))}

    rows = log.measure(kind, architectures, values_of, progress)
    parts = [str(part) for part in range(max(map(len, rows), default=0))]
    return [
        tuple(row[part] if math.isfinite(row[part]) else -math.inf for part in parts)
        for row in rows
    ]

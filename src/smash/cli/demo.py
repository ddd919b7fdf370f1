"""``smash demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smash.cli.compare import print_comparison
from smash.cli.options import DeviceOption, announce, load, quoted, say
from smash.cli.tables import print_candidates
from smash.comparing.settings import CompareSettings
from smash.run.layout import check_free
from smash.searching.settings import SearchSettings
from smash.training.settings import TrainSettings

_DATA, _SIDE = "mnist-5k", 14
_TESTED, _VALIDATED = 0.5, 0.3  # of the digits, so that 2,500 tell networks apart
_MOST_PARAMETERS = 1000  # so few that networks differ by several points
_SMASH_EPOCHS, _RANDOM, _PERTURB = 24, 200, 40
_EPOCHS, _FINALISTS, _SEEDS = 20, 16, 3


def demo(
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default the next free runs/demo-N.")
    ] = None,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Find a network of 1,000 parameters for 5,000 digits of MNIST, and compare it, in minutes."""
    out = out or _next_free(Path("runs"), "demo")
    check_free(out, "choose another --out")
    import torch

    from smash.cli.describe import announce_run
    from smash.comparing.compare import compare as compare_networks
    from smash.reporting import report as write_report
    from smash.runtime.progress import on_terminal
    from smash.searching.search import search as search_run
    from smash.training.train import train as train_network

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small networks gain from no more, and lose beside other work
    data = load(_DATA, image_size=_SIDE, test_fraction=_TESTED, val_fraction=_VALIDATED)
    training = TrainSettings(
        space="mobile", preset="tiny", max_params=_MOST_PARAMETERS, epochs=_SMASH_EPOCHS,
        seed=seed, device=device,
    )  # fmt: skip
    run = train_network(data, out, training, progress=on_terminal, on_begin=announce_run)
    searching = SearchSettings(random=_RANDOM, perturb=_PERTURB, markov=0, seed=seed, device=device)
    print_candidates(search_run(run, searching, progress=on_terminal), 5)
    torch.set_num_threads(threads)  # among which several children are trained at once
    comparing = CompareSettings(
        epochs=_EPOCHS, finalists=_FINALISTS, finals_share=8, random=0, seeds=_SEEDS, seed=seed,
        device=device,
    )  # fmt: skip
    print_comparison(compare_networks(run, comparing, progress=on_terminal, announce=announce))
    page = write_report(run)
    say(f"All of it is in {out}: open {page} in a browser, or try: smash show {quoted(out)}")


def _next_free(folder: Path, name: str) -> Path:
    number = 1
    while (path := folder / f"{name}-{number}").exists():
        number += 1
    return path

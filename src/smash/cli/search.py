"""``smash search``."""

from __future__ import annotations

from typing import Annotated

import typer

from smash.cli.options import DeviceOption, RayOption, RunArgument, announce, open_run, say
from smash.cli.tables import print_candidates, print_front, print_latencies
from smash.run.layout import check_trained, find_run


def search(
    run: RunArgument,
    random: Annotated[
        int | None,
        typer.Option(help="Architectures to draw at random; 500, or 100 with evolution."),
    ] = None,
    perturb: Annotated[
        int | None, typer.Option(help="Changes of the best of those; 100, or 0 with evolution.")
    ] = None,
    markov: Annotated[
        int | None,
        typer.Option(help="Steps of the chain from the best; 100, or 0 with evolution."),
    ] = None,
    evolve: Annotated[
        int | None, typer.Option(help="Candidates that evolution proposes; 600 with it.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Probability that a setting is redrawn.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the proposals.")] = 0,
    strategy: Annotated[
        str,
        typer.Option(help="How changes are proposed: perturbation, gradient or evolution."),
    ] = "perturbation",
    objectives: Annotated[
        str | None,
        typer.Option(
            help="Several, with commas, by NSGA-II: error or loss, and params, macs or latency."
        ),
    ] = None,
    rank_by: Annotated[str, typer.Option(help="loss, error or top5_error.")] = "loss",
    examples: Annotated[int, typer.Option(help="Validation examples to score on.")] = 2000,
    max_params: Annotated[int | None, typer.Option(help="Most parameters of a child.")] = None,
    max_macs: Annotated[int | None, typer.Option(help="Most MACs of a child.")] = None,
    max_latency: Annotated[
        str | None,
        typer.Option(help="Most time of a child for one input, such as 5ms; measured here."),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Score all on all examples. A race drops who is surely worse than the best few, "
            "and all but a third of a cohort after each part; with a prior, by that share alone.",
        ),
    ] = False,
    keep: Annotated[int, typer.Option(help="How many of the best a race tells apart.")] = 10,
    prior: Annotated[
        str | None,
        typer.Option(
            help="Rank by score and proxy at once: params, macs, naswot, synflow, az-nas or "
            "generated-synflow, the default for cells; none for the score alone."
        ),
    ] = None,
    prefilter: Annotated[
        str | None,
        typer.Option(
            metavar="PROXY[:SHARE]",
            help="Score only the best share of the random ones by a proxy; a quarter by default.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="val; test only to follow the original: it spoils the test.")
    ] = "val",
    precision: Annotated[
        str, typer.Option(help="In which candidates predict: fp32, bf16, fp16 or auto.")
    ] = "fp32",
    batch_size: Annotated[int, typer.Option(help="Examples that are predicted at once.")] = 250,
    device: DeviceOption = "auto",
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Keep the study on a server, for several searches at once: postgresql://….",
        ),
    ] = None,
    ray: RayOption = None,
) -> None:
    """Rank architectures."""
    find_run(run)
    check_trained(run)
    from smash.runtime.progress import on_terminal
    from smash.searching.search import search as search_run

    opened = open_run(run)
    study = search_run(
        opened,
        random=random,
        perturb=perturb,
        markov=markov,
        evolve=evolve,
        rate=rate,
        seed=seed,
        strategy=strategy,  # type: ignore[arg-type] # checked there
        objectives=objectives.split(",") if objectives else (),
        rank_by=rank_by,  # type: ignore[arg-type] # checked there
        examples=examples,
        max_params=max_params,
        max_macs=max_macs,
        max_latency=max_latency,
        full=full,
        keep=keep,
        prior=prior,
        prefilter=prefilter,
        split=split,  # type: ignore[arg-type] # checked there
        precision=precision,  # type: ignore[arg-type] # checked there
        batch_size=batch_size,
        device=device,
        storage=storage,
        ray=ray,
        progress=on_terminal,
        announce=announce,
    )
    print_candidates(study, 5)
    if objectives:
        print_front(study)
    if max_latency is not None or "latency" in (objectives or ""):
        print_latencies(opened, study)
    candidates = study.candidates()
    if study.shared:
        say(f"the study is in {study.where}; others may search it, in copies of this folder")
        say(f"Next: smash retrain {run}")
        return
    last, members = candidates[-1], sum(not one.partial for one in candidates)
    say(f"the ensemble of {members} full scores: error {last.ensemble_error:.2%} ({last.split})")
    say(f"Next: smash retrain {run}")

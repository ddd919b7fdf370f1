"""What a search over ImageNet-1k with 10⁶ candidates on 64 GPUs costs, by simulation.

    python benchmarks/scale.py

`docs/scale.md` says how the numbers below were measured, and which are assumed. The simulation
follows `smash.searching.racing`: cohorts one after the other, each proposed by the driver, then
raced part by part, the driver judging and committing what has settled. Plain Python; a few seconds.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

CANDIDATES = 1_000_000
GPUS = 64
RUNGS = (100, 200, 400, 800, 1600, 2000)  # validation examples seen after each part
CALIBRATION = 250  # training examples for the statistics of a candidate
SHARE = 1 / 3  # of a cohort, that goes on after a part


@dataclass(frozen=True, kw_only=True)
class World:
    """Seconds, on one core of the driver or on one GPU.

    Attributes:
        propose: To draw an architecture and count its cost. Measured.
        commit: To put a score into the study and on the disk. Measured.
        judge: To score logits. Measured; once a candidate.
        join: To add a full score to the ensemble. Measured.
        scan: To look through the history before a cohort, a candidate in it. Measured.
        flops: Floating-point operations of a child for one example: twice its MACs. Measured.
        speed: Floating-point operations a second that a GPU reaches in a child. Assumed.
        begin: Of a GPU to generate weights and launch a part. Assumed.
        send: Of the driver to hand out a part and receive logits. Measured.
        cohort: Candidates that race together.
        proposers: Cores that propose.
        batch: Scores that are committed at once.
    """

    propose: float = 0.073
    commit: float = 0.024
    judge: float = 0.012
    join: float = 0.025
    scan: float = 3.1e-6
    flops: float = 2 * 1.35e9
    speed: float = 3.0e13
    begin: float = 0.1
    send: float = 0.0013
    cohort: int = 100
    proposers: int = 1
    batch: int = 1


@dataclass(frozen=True)
class Spent:
    """Hours of a search: of the whole, of one GPU at work, and of the driver by kind of work."""

    whole: float
    gpu: float
    driver: dict[str, float]


def part_seconds(world: World, number: int) -> float:
    """Seconds of a GPU for one part of one candidate."""
    examples = RUNGS[number] - (RUNGS[number - 1] if number else 0)
    seen = examples + (0 if number else CALIBRATION)
    return world.begin + seen * world.flops / world.speed


def part_makespan(world: World, number: int, count: int) -> tuple[float, float]:
    """Seconds until all have seen a part, and seconds that GPUs were at work for it.

    The driver hands out one piece after the other, and a GPU that is free takes the next.
    """
    free = [0.0] * GPUS
    heapq.heapify(free)
    work = part_seconds(world, number)
    last = 0.0
    for piece in range(count):
        begin = max((piece + 1) * world.send, heapq.heappop(free))
        heapq.heappush(free, begin + work)
        last = max(last, begin + work)
    return last, count * work


def search(world: World) -> Spent:
    """Simulates a search; cohorts differ only by how long the history is."""
    race, busy, settled_full = 0.0, 0.0, 0
    running = world.cohort
    for number in range(len(RUNGS)):
        seconds, at_work = part_makespan(world, number, running)
        race, busy = race + seconds, busy + at_work
        settled_full = running
        running = max(10, round(running * SHARE))
    driver = {
        "propose": world.cohort * world.propose / world.proposers,
        "commit": world.cohort * world.commit / world.batch,
        "judge": world.cohort * world.judge,
        "ensemble": settled_full * world.join,
    }
    cohorts = CANDIDATES // world.cohort
    hours = {name: cohorts * seconds / 3600 for name, seconds in driver.items()}
    hours["history"] = world.scan * sum(n * world.cohort for n in range(cohorts)) / 3600
    whole = cohorts * race / 3600 + sum(hours.values())
    return Spent(whole, cohorts * busy / 3600 / GPUS, hours)


def main() -> None:
    """Prints a table: as it is, and with one bottleneck after the other removed."""
    world = World()
    worlds = {"as it is": world}
    for name, change in (
        ("proposals on 64 cores", {"proposers": 64}),
        ("100 scores a commit", {"batch": 100}),
        ("cohorts of 1,000", {"cohort": 1000}),
    ):
        world = replace(world, **change)  # type: ignore[arg-type]
        worlds[f"+ {name}"] = world
    kinds = ("propose", "commit", "judge", "ensemble", "history")
    print("| | hours | GPUs at work | " + " | ".join(kinds) + " |")
    print("| --- |" + " ---: |" * (2 + len(kinds)))
    for name, each in worlds.items():
        spent = search(each)
        shares = " | ".join(f"{spent.driver[kind]:.1f}" for kind in kinds)
        print(f"| {name} | {spent.whole:.1f} | {spent.gpu / spent.whole:.0%} | {shares} |")
    for speed in (1.0e13, 3.0e13, 1.0e14):
        spent = search(replace(World(), speed=speed))
        print(
            f"as it is, GPUs of {speed:.0e} FLOP/s: {spent.whole:.1f} hours, {spent.gpu:.1f} busy"
        )


if __name__ == "__main__":
    main()

"""The verdict of a comparison in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smash.comparing.comparison import OVER, PLAIN, Contestant
from smash.io.records import Interval


def verdict(contestants: Sequence[Contestant]) -> str:
    """Says in one sentence which network to take.

    The network with the lowest validation error is recommended, of those within the limits; test
    errors say by how much.
    """
    within = [each for each in contestants if each.role != OVER]
    winner, best = within[0], min(within, key=lambda each: each.val.value)
    plain = [each for each in within if each.role == PLAIN]
    if best.val.value < winner.val.value:
        role = "" if best.role == PLAIN else f" ({best.role})"
        chance = ", which may be chance" if best.behind.low <= 0 <= best.behind.high else ""
        points = -100 * best.behind.value
        compared = f"better by {points:.1f}" if points > 0 else f"worse by {-points:.1f}"
        than = f"{compared} points than" if points else "as good as"
        return (
            f"Take {best.name}{role}: no network within the limits has a lower validation error; "
            f"on the test split it is {than} the winner{chance}."
        )
    if not plain:
        return (
            "No plain network within the limits costs as little as the winner, so there is none to "
            "compare it with."
        )
    gaps = [100 * each.behind.value for each in plain]
    unclear = [each.name for each in plain if each.behind.low <= 0]
    if not unclear:
        ends = f"{min(gaps):.1f}" if len(gaps) == 1 else f"{min(gaps):.1f} to {max(gaps):.1f}"
        return f"The winner is better than each plain network by {ends} points, beyond chance."
    nearest = min(plain, key=lambda each: each.behind.value)
    return (
        "No plain network has a lower validation error than the winner, but on the test split its "
        f"distance to {nearest.name} ({100 * nearest.behind.value:+.1f} points, "
        f"{100 * nearest.behind.low:+.1f} to {100 * nearest.behind.high:+.1f}) may be chance."
    )


def against_random(count: int, found: Interval | None) -> Iterable[str]:
    """Says whether the winner is better than networks that were drawn, not searched for."""
    if found is None:
        return
    low, mean, high = (100 * each for each in (found.low, found.value, found.high))
    drawn = f"the mean of {count} random candidates"
    if low > 0:
        yield f"The winner is {mean:.1f} points ahead of {drawn}, beyond chance."
    elif high < 0:
        yield f"The winner is {-mean:.1f} points behind {drawn}, beyond chance."
    else:
        yield (
            f"The winner's distance to {drawn} ({mean:+.1f} points, {low:+.1f} to {high:+.1f}) may "
            "be chance."
        )


def of_one_seed(seeds: int) -> Iterable[str]:
    """Says what the intervals leave out where each network was trained once."""
    if seeds == 1:
        yield (
            "That is the chance of the test examples: each network was trained once, and another "
            "seed may change more; --seeds 3 tells."
        )


def of_untimed(contestants: Sequence[Contestant]) -> Iterable[str]:
    """Says that plain networks may be slower, where candidates alone were timed."""
    plain = [each for each in contestants if each.role == PLAIN]
    if contestants[0].latency is not None and any(each.latency is None for each in plain):
        yield (
            "Plain networks were not timed, so they may be slower than the winner: give "
            "--latency-command again if the search had one."
        )

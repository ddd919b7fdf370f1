"""Names of reference networks, without torch; `smash.spaces.baselines` builds them."""

from __future__ import annotations

import re

from smash.errors import InvalidValueError, unknown

ALIASES = {
    "densenet": "densenet121",
    "resnet": "resnet18",
    "vgg": "vgg16_bn",
    "wrn": "wrn-40-4",  # the network that the published budget is taken from
}
"""The network that the bare name of a family stands for."""

FITTED = ("resnet", "wrn")
"""Families whose members `fit_baseline` compares."""

PLAIN_NAMES = ("mlperf-resnet", "mobilenet", "ds-cnn", "cnn", "inception")
"""Families of plain networks of small devices."""

_TORCHVISION = (
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("wide_resnet50_2", "wide_resnet101_2"),
)
TIMM = "timm:"
"""Prefix of the networks of timm, whose names only timm knows."""

WRN = re.compile(r"wrn-?(\d{1,6})-(\d{1,6}(?:\.\d{1,4})?)")
RESNET = re.compile(r"resnet-?(\d+)-(\d+)")
PLAIN = re.compile(rf"({'|'.join(PLAIN_NAMES)})-(\d{{1,4}})")


def full_name(name: str) -> str:
    """Normalises the name of a network: lower case, torchvision's spelling, no alias.

    Raises:
        InvalidValueError: The network is unknown.
    """
    if name.startswith(TIMM):
        return name
    spelling, name = name, name.lower()
    name = ALIASES.get(name, name)
    if found := WRN.fullmatch(name):
        depth, wide = int(found[1]), float(found[2])
        if depth < 10 or (depth - 4) % 6 or not wide or 16 * wide % 1:
            raise InvalidValueError(
                f"baseline {spelling!r}: the depth of a wide ResNet must be 6n + 4, such as 16, 28 "
                "or 40, and its width a whole number, or sixteenths such as 0.5: try wrn-16-2"
            )
        return f"wrn-{depth}-{int(wide) if wide.is_integer() else wide}"
    if found := PLAIN.fullmatch(name):
        if not int(found[2]):
            raise InvalidValueError(
                f"baseline {spelling!r}: its width must be at least 1: try {found[1]}-16"
            )
        return f"{found[1]}-{int(found[2])}"
    if found := RESNET.fullmatch(name):
        depth, width = map(int, found.groups())
        if depth < 8 or (depth - 2) % 6 or not width:
            raise InvalidValueError(
                f"baseline {spelling!r}: the depth of a ResNet must be 6n + 2, such as 20, 32 or "
                "56, and its width at least 1: try resnet-20-16"
            )
        return f"resnet-{depth}-{width}"
    spellings = {known.replace("_", ""): known for known in _TORCHVISION}
    plain = re.sub(r"[-_]", "", name)
    if plain not in spellings:
        examples = ["wrn-16-2", "resnet-20-16", *(f"{family}-16" for family in PLAIN_NAMES)]
        known = [*ALIASES, *spellings.values(), *examples]
        raise InvalidValueError(unknown("baseline", spelling, known))
    return spellings[plain]

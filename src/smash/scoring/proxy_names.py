"""Names of the proxies, without the proxies, which import torch."""

SIZE_PROXIES = ("params", "macs")
"""Proxies that are counted, not computed: the larger a child, the better it is held to be."""

COMPUTED_PROXIES = ("naswot", "swap", "synflow", "az-nas", "generated-synflow")
"""Proxies that look at a child's features, weights or gradients."""

PROXY_NAMES = (*SIZE_PROXIES, *COMPUTED_PROXIES)

MAIN_EFFECTS = "main-effects"
"""In a prior, draws the score towards the sum of what each choice does; no proxy by itself."""

PATHS = "paths"
"""In a prior, draws the score of a cell towards the sum of what its paths hold; no proxy either."""

SMOOTHING = (MAIN_EFFECTS, PATHS)
"""Parts of a prior that change the score, and rank nothing by themselves."""

VALUES = {"az-nas": 4, **dict.fromkeys(SMOOTHING, 0)}
"""Number of values of a proxy that does not measure one."""

JOIN = "+"
"""Joins the names of proxies that serve together, as ``synflow+params``."""

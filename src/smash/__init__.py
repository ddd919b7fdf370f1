"""smash: one-shot neural architecture search through hypernetworks (Brock et al. 2017).

Example:
    >>> import smash
    >>> data = smash.load_data("digits")
    >>> run = smash.train(data, "runs/digits", epochs=20)
    >>> study = smash.search(run, random=200)
    >>> child = smash.retrain(run, rank=0)
    >>> print(child.result["val"].error)

To read the method, take nine files in this order:

1. `smash.spaces.memory_bank.architecture`: an architecture and its id.
2. `smash.spaces.memory_bank.sampling`: sampling and mutation of architectures.
3. `smash.spaces.memory_bank.network`: the child network of an architecture.
4. `smash.hypernet.encoding`: the tensor that describes an architecture to the hypernetwork.
5. `smash.hypernet.convolutional`: the hypernetwork, which turns an encoding into weights.
6. `smash.hypernet.smash_network`: a child that runs with generated weights.
7. `smash.training.smash_network`: one step of training is algorithm 1 of the paper.
8. `smash.scoring.scorer`: the score of an architecture on the validation examples.
9. `smash.searching.loop`: proposing, scoring and ranking candidates.

Names are imported on first use, so that ``import smash`` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smash._lazy import importer

if TYPE_CHECKING:
    from smash.comparing.compare import compare
    from smash.comparing.comparison import Comparison
    from smash.comparing.settings import CompareSettings
    from smash.correlation.correlate import correlate
    from smash.correlation.settings import CorrelateSettings
    from smash.data import Data, check_data, load_data
    from smash.errors import SmashError
    from smash.estimator import SmashClassifier
    from smash.evaluation import Evaluation
    from smash.exporting.export import Export, export
    from smash.exporting.predict import Prediction, predict
    from smash.hypernet import SmashNetwork
    from smash.reporting import report
    from smash.run.child import Child
    from smash.run.run import Run
    from smash.run.trust import Trust
    from smash.searching.search import search
    from smash.searching.settings import SearchSettings
    from smash.spaces import (
        SPACES,
        MemoryBankSpace,
        MobileSpace,
        NasBench201Space,
        SearchSpace,
        Task,
    )
    from smash.spaces.choices import Choices, space
    from smash.study.candidate import Candidate
    from smash.study.study import Study
    from smash.training.retrain import retrain
    from smash.training.settings import RetrainSettings, TrainSettings
    from smash.training.train import train

__version__ = "0.1.0"

__all__ = [
    "SPACES",
    "Candidate",
    "Child",
    "Choices",
    "CompareSettings",
    "Comparison",
    "CorrelateSettings",
    "Data",
    "Evaluation",
    "Export",
    "MemoryBankSpace",
    "MobileSpace",
    "NasBench201Space",
    "Prediction",
    "RetrainSettings",
    "Run",
    "SearchSettings",
    "SearchSpace",
    "SmashClassifier",
    "SmashError",
    "SmashNetwork",
    "Study",
    "Task",
    "TrainSettings",
    "Trust",
    "check_data",
    "compare",
    "correlate",
    "export",
    "load_data",
    "predict",
    "report",
    "retrain",
    "search",
    "space",
    "train",
]

_HOMES = {
    "smash.evaluation": ("Evaluation",),
    "smash.run.child": ("Child",),
    "smash.data.check": ("check_data",),
    "smash.data.dataset": ("Data",),
    "smash.data.load": ("load_data",),
    "smash.errors": ("SmashError",),
    "smash.estimator": ("SmashClassifier",),
    "smash.exporting.export": ("Export", "export"),
    "smash.exporting.predict": ("Prediction", "predict"),
    "smash.reporting": ("report",),
    "smash.comparing.compare": ("compare",),
    "smash.comparing.comparison": ("Comparison",),
    "smash.comparing.settings": ("CompareSettings",),
    "smash.training.retrain": ("retrain",),
    "smash.training.settings": ("RetrainSettings", "TrainSettings"),
    "smash.run.run": ("Run",),
    "smash.searching.search": ("search",),
    "smash.spaces": (
        "SPACES",
        "MemoryBankSpace",
        "MobileSpace",
        "NasBench201Space",
        "SearchSpace",
        "Task",
    ),
    "smash.spaces.choices": ("Choices", "space"),
    "smash.study.candidate": ("Candidate",),
    "smash.study.study": ("Study",),
    "smash.searching.settings": ("SearchSettings",),
    "smash.training.train": ("train",),
    "smash.correlation.correlate": ("correlate",),
    "smash.correlation.settings": ("CorrelateSettings",),
    "smash.run.trust": ("Trust",),
    "smash.hypernet": ("SmashNetwork",),
}
__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

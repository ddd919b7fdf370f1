from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from benchmarks import banks

FIRST = np.asarray([0.40, 0.42, 0.41, 0.45, 0.44])
SECOND = np.asarray([0.47, 0.40, 0.42, 0.44, 0.46])
PARAMS = np.asarray([1.0, 2.0, 4.0, 3.0, 5.0])
LOSSES = np.asarray([1.5, 1.7, 1.4, 1.6, 1.3])


@pytest.mark.parametrize(("twice", "real"), [(5, (FIRST + SECOND) / 2), (3, FIRST)])
def test_print_table_where_all_were_trained_twice_judges_by_the_mean(capsys, twice, real):
    known, again = (
        [SimpleNamespace(id=str(index), accuracy=truth) for index, truth in enumerate(each)]
        for each in (FIRST, SECOND[:twice])
    )
    banks.print_table(known, again, {"none": LOSSES}, {"params": PARAMS[:, None]})
    told = capsys.readouterr().out
    rows = {name: float(tau) for name, tau in re.findall(r"^\| ([^|]+) \| (-?[\d.]+) ", told, re.M)}

    def tau(first, second):
        return pytest.approx(stats.kendalltau(first, second).statistic, abs=5e-4)

    assert rows["params"] == tau(PARAMS, real)
    assert rows["none: score"] == tau(-LOSSES, real)
    assert float(re.search(r"ceiling: τ (-?[\d.]+)", told)[1]) == tau(FIRST[:twice], SECOND[:twice])
    assert f"accuracy {real.mean():.1%}, deviation {real.std():.1%}" in told

from __future__ import annotations

from dataclasses import replace

from smash.io.measurements import MeasurementLog
from smash.reporting.latencies import latency_rows


def test_latency_rows_has_a_row_for_each_timed_candidate(tmp_path, some):
    measurements = MeasurementLog(tmp_path / "latency.jsonl")
    measurements.add("latency device=cuda threads=2", "a", {"seconds": 0.002, "spread": 0.0002})
    measurements.add("graphs threads=2", "b", {"seconds": 0.003, "spread": 0.0004})
    measurements.flush()
    first = some[0]
    ranked = [replace(first, id="a"), replace(first, id="b", latency=0.005), replace(first, id="c")]
    assert latency_rows(tmp_path, ranked) == [
        ("0", "a", "2.00 ± 0.10", "cuda", "2", "", ""),
        ("1", "b", "5.00", "", "", "3.00 ± 0.20", "2"),
    ]

"""optuna-dashboard shows a study as it is, while the search goes on."""

from __future__ import annotations

import io
import json
import time

import pytest

from smash.study.study import Study
from tests.reporting.made import candidates

dashboard = pytest.importorskip("optuna_dashboard", reason="it is an extra: smash-nas[dashboard]")


def get(app, path):
    """What the server answers."""
    statuses, errors = [], io.StringIO()
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": errors,
    }
    answer = app(environ, lambda status, headers, exc_info=None: statuses.append(status))
    body = b"".join(answer)
    assert statuses == ["200 OK"], errors.getvalue()
    return json.loads(body)


@pytest.mark.filterwarnings("default")  # of its own
def test_dashboard_shows_candidates_as_they_are_committed(tmp_path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "study.journal"
    found, readable = candidates(8)
    study = Study(path, create=True)
    for one in found[:5]:
        study.add(one, readable[one.id])
    app = dashboard.wsgi(JournalStorage(JournalFileBackend(str(path))))
    (summary,) = get(app, "/api/studies")["study_summaries"]
    assert summary["study_name"] == "smash"
    assert summary["directions"] == ["minimize"]
    address = f"/api/studies/{summary['study_id']}"
    trials = get(app, address)["trials"]
    assert [trial["state"] for trial in trials] == [
        "Pruned" if one.partial else "Complete" for one in found[:5]
    ]
    for trial, one in zip(trials, found, strict=False):
        values = {each["name"]: float(each["param_external_value"]) for each in trial["params"]}
        assert values == pytest.approx(
            {**readable[one.id], "params": float(one.params), "macs": float(one.macs)}
        )
        notes = {each["key"]: each["value"] for each in trial["user_attrs"]}
        assert json.loads(notes["architecture"]) == json.loads(json.dumps(one.architecture))
        assert notes["id"] == one.id
    for one in found[5:]:
        study.add(one, readable[one.id])
    deadline = time.monotonic() + 300
    while len(get(app, address)["trials"]) < 8:  # it looks again every two seconds
        assert time.monotonic() < deadline
        time.sleep(0.1)

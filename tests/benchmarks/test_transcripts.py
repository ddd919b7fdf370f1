from __future__ import annotations

import pytest
from benchmarks.transcripts import Workplaces, written_anew

PAGE = """Text.

<!-- transcript -->
```console
$ python -c "open('made', 'a').write('x')"
old output

$ python -c "print('search 1/2, 0:01 left'); print(open('made').read())"
```

```console
$ not run
```
"""


@pytest.fixture
def workplaces(tmp_path):
    return Workplaces(tmp_path)


def test_written_anew_runs_commands_one_after_the_other(workplaces):
    page = written_anew(PAGE, workplaces)
    assert page == PAGE.replace("old output\n", "").replace('read())"\n', 'read())"\nx\n')
    assert written_anew(page, workplaces) == page


def test_written_anew_runs_hidden_commands_first(workplaces):
    page = """<!-- transcript after: touch one; touch two -->
```console
$ ls
```
"""
    assert written_anew(page, workplaces) == page.replace("$ ls\n", "$ ls\none\nphotos\ntwo\n")


def test_workplaces_run_no_command_twice(workplaces):
    written_anew(PAGE, workplaces)
    page = PAGE.replace("print('search 1/2, 0:01 left'); ", "")
    assert 'read())"\nx\n' in written_anew(page, workplaces)  # not xx


def test_photos_are_images_by_class(workplaces, tmp_path):
    assert {path.name for path in tmp_path.glob("*/photos/*")} == {"zero", "one", "two"}

"""A PostgreSQL server for tests, in its own folder, on loopback, with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PASSWORD = "s3cret-of-tests"  # noqa: S105 # the server lives for seconds
_PATIENCE = 300.0  # seconds


def programs() -> Path | None:
    """Finds the folder of the server's programs, which Debian keeps out of the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    elsewhere = shutil.which("initdb")
    return found[-1].parent if found else Path(elsewhere).parent if elsewhere else None


class Postgres:
    """A running server."""

    def __init__(self, bin_: Path) -> None:
        self._bin = bin_
        self.folder = Path(tempfile.mkdtemp(prefix="smash-postgres-"))
        self._as: dict[str, Any] = {"cwd": "/", "stdout": subprocess.DEVNULL}
        if os.geteuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call(
            *("initdb", "--no-sync", "--auth=scram-sha-256", "--username=worker"),
            *(f"--pwfile={secret}", f"--pgdata={self.folder / 'data'}", "--locale=C"),
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._made = 0
        self.start()

    def _call(self, program: str, *options: str) -> None:
        subprocess.run([self._bin / program, *options], check=True, **self._as)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = f"postgres -D {self.folder}/data -p {self.port} -F -h 127.0.0.1"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                f"{self._bin}/{command} -c unix_socket_directories=".split(),
                stderr=log,
                **self._as,
            )
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.connect("postgres").close()
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Id of the server's first process."""
        return self._process.pid

    def stop(self) -> None:
        """Stops the server as a power cut would."""
        self._process.send_signal(3)
        self._process.wait()

    def remove(self) -> None:
        """Stops the server and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def connect(self, database: str) -> Any:
        """Opens a connection for the test itself."""
        import psycopg

        try:
            return psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user="worker",
                dbname=database,
                password=PASSWORD,
                autocommit=True,
            )
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from None

    def database(self) -> str:
        """Creates a database and returns its name."""
        self._made += 1
        name = f"studies{self._made}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str) -> str:
        """Returns the URL that users pass to `--storage`."""
        return f"postgresql://worker@127.0.0.1:{self.port}/{database}"

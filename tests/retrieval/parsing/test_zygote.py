"""The process that parsers are forked from, as a program."""

import socket
import subprocess
import sys

from undercroft.retrieval.parsing.sandbox import EXTRACTOR


def test_it_ends_quietly_when_its_service_has_ended_while_it_loaded() -> None:
    service, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control:
        service.close()
        ended = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "undercroft.retrieval.parsing.zygote"),
                *(str(control.fileno()), EXTRACTOR),
            ],
            pass_fds=(control.fileno(),),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")

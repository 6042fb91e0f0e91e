"""S3 and KMS on a free port of this machine, until standard input ends. Run by the Python of ``.venv-servers``."""

import sys

from moto.server import ThreadedMotoServer  # pyright: ignore[reportMissingImports] # in .venv-servers


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


main()

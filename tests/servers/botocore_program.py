"""Signs a request with botocore, for comparison. Run by the Python of ``.venv-servers``."""

import datetime
import json
import sys
from unittest import mock

from botocore import auth  # pyright: ignore[reportMissingImports] # in .venv-servers
from botocore.awsrequest import AWSRequest  # pyright: ignore[reportMissingImports]
from botocore.credentials import Credentials  # pyright: ignore[reportMissingImports]


def main() -> None:
    asked = json.load(sys.stdin)
    moment = datetime.datetime.fromisoformat(asked["time"])
    request = AWSRequest("POST", asked["url"], asked["headers"], asked["body"].encode())
    credentials = Credentials(asked["id"], asked["secret"], asked["token"])
    signer = auth.SigV4Auth(credentials, asked["service"], asked["region"])
    with mock.patch.object(auth, "get_current_datetime", return_value=moment.replace(tzinfo=None)):
        signer.add_auth(request)
    json.dump(dict(request.headers), sys.stdout)


main()

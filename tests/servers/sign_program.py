"""Signs requests as Amazon's own library does; run by the Python of ``.venv-servers``.

Reads a JSON list of requests on standard input, and writes the headers of each.
"""

import json
import sys
from datetime import datetime
from typing import Any

from botocore import auth  # pyright: ignore[reportMissingImports] # in .venv-servers
from botocore.awsrequest import AWSRequest  # pyright: ignore[reportMissingImports]
from botocore.credentials import Credentials  # pyright: ignore[reportMissingImports]


def sign(case: dict[str, Any]) -> dict[str, str]:
    now = datetime.fromisoformat(case["time"])
    auth.get_current_datetime = lambda remove_tzinfo=True: (  # noqa: ARG005 - the library's own name
        now.replace(tzinfo=None)
    )
    headers = dict(case["headers"])
    host = headers.pop("Host")
    request = AWSRequest("POST", f"https://{host}/", data=case["body"].encode(), headers=headers)
    credentials = Credentials(case["access"], case["secret"], case["token"])
    auth.SigV4Auth(credentials, case["service"], case["region"]).add_auth(request)
    return dict(request.headers)


sys.stdout.write(json.dumps([sign(case) for case in json.load(sys.stdin)]))

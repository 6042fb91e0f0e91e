"""How a key of AWS KMS and its server are named."""

import re
from dataclasses import dataclass
from typing import Final

from pydantic import AnyHttpUrl

_ARN: Final = re.compile(
    r"arn:aws[a-z-]{0,20}:kms:[a-z0-9-]{1,30}:[0-9]{12}:key/[A-Za-z0-9-]{1,128}", re.ASCII
)
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key by its ARN: ``arn:PARTITION:kms:REGION:ACCOUNT:key/ID``.

    Raises:
        ValueError: When that is no key's ARN.
    """

    arn: str

    def __post_init__(self) -> None:
        if not _ARN.fullmatch(self.arn):
            raise ValueError(
                "a key of AWS KMS is named arn:aws:kms:REGION:ACCOUNT:key/ID; an alias could be pointed elsewhere"
            )

    @property
    def region(self) -> str:
        """Where it is."""
        return self.arn.split(":")[3]

    @property
    def url(self) -> str:
        """Amazon's server in its region."""
        suffix = "amazonaws.com.cn" if self.arn.startswith("arn:aws-cn:") else "amazonaws.com"
        return f"https://kms.{self.region}.{suffix}"


def check_arn(arn: str | None) -> str | None:
    """An ARN, if it is a key's."""
    return None if arn is None else KmsKey(arn).arn


def check_arns(arns: tuple[str, ...]) -> tuple[str, ...]:
    """ARNs, if each is a key's."""
    return tuple(KmsKey(arn).arn for arn in arns)


def check_endpoint(url: AnyHttpUrl | None) -> AnyHttpUrl | None:
    """A server's address, if it may be sent keys."""
    if url is None:
        return None
    if url.scheme != "https" and url.host not in _THIS_MACHINE:
        raise ValueError("a KMS is sent keys, so its address begins with https://")
    if (url.path or "/") != "/" or url.query or url.fragment or url.username or url.password:
        raise ValueError("a KMS is named by https://, its host and perhaps its port alone")
    return url

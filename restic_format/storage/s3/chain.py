"""A process that asks botocore for credentials and writes them to its standard output, as JSON, for `credentials`.

What it is given stands in its environment: everything that botocore knows, and the role to assume.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import Credentials
    from botocore.session import Session


class Answer(msgspec.Struct, omit_defaults=True):
    """What the process writes: keys, or why there are none; nothing where nobody has any."""

    access_key: str = ""
    secret_key: str = ""
    token: str = ""
    ends: float | None = None
    """When the keys end, in seconds since the epoch."""
    error: str = ""
    passing: bool = False
    """Whether to ask again may help."""


def answer(region: str, *, verify: bool, environment: Mapping[str, str]) -> Answer:
    """The credentials of botocore's chain, or of the role that is assumed with them."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, MetadataRetrievalError
    from botocore.session import Session

    try:
        session = Session()
        found = session.get_credentials()
        if found is not None and environment.get("RESTIC_AWS_ASSUME_ROLE_ARN"):
            return _assumed(session, region, verify=verify, environment=environment)
        return Answer() if found is None else _answer(found)
    except (BotoCoreError, ClientError) as error:
        return Answer(error=str(error), passing=isinstance(error, HTTPClientError | MetadataRetrievalError))


def _answer(found: Credentials) -> Answer:
    frozen = found.get_frozen_credentials()
    ends = getattr(found, "_expiry_time", None)
    return Answer(frozen.access_key, frozen.secret_key, frozen.token or "", ends.timestamp() if ends is not None else None)


def _assumed(session: Session, region: str, *, verify: bool, environment: Mapping[str, str]) -> Answer:
    """The keys of the role that ``RESTIC_AWS_ASSUME_ROLE_…`` says, which are good for an hour."""

    def setting(name: str) -> str:
        return environment.get(f"RESTIC_AWS_ASSUME_ROLE_{name}", "")

    where = setting("REGION") or region
    domain = "amazonaws.com.cn" if where.startswith("cn-") else "amazonaws.com"
    endpoint = setting("STS_ENDPOINT") or f"https://sts.{f'{where}.' if where else ''}{domain}"
    client = session.create_client(
        "sts", region_name=where or "us-east-1", endpoint_url=endpoint, verify=None if verify else False
    )
    wanted = {
        "RoleArn": setting("ARN"),
        "RoleSessionName": setting("SESSION_NAME") or "restic-format",
        "ExternalId": setting("EXTERNAL_ID"),
        "Policy": setting("POLICY"),
    }
    given = client.assume_role(**{name: text for name, text in wanted.items() if text})["Credentials"]
    return Answer(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], given["Expiration"].timestamp())


if __name__ == "__main__":
    import os

    found = answer(sys.argv[1], verify=sys.argv[2] == "verify", environment=os.environ)
    sys.stdout.buffer.write(msgspec.json.encode(found))

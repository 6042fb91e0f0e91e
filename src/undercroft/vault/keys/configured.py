"""The key provider that the settings name, opened so that no lost key can pass unnoticed."""

import os
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from undercroft.identity.tenants import list_tenants
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.aws_kms import AwsKms, is_wrapped_by_kms
from undercroft.kit.crypto.providers.aws_signature import AwsCredentials
from undercroft.kit.crypto.providers.combined import CombinedKeyProvider
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.kms_client import KmsClient
from undercroft.kit.crypto.providers.kms_key import KmsKey
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import list_wrapped_keys
from undercroft.ledger.models import LogScope
from undercroft.vault.keys.repository import RotationRepository


@asynccontextmanager
async def open_key_provider(settings: Settings, database: Database) -> AsyncGenerator[KeyProvider]:
    """The keeper of the key that wraps all others, and whichever else the settings name to unwrap.

    Args:
        settings: Say which keeper, and where.
        database: Holds what it wraps. A key file is made only while that is nothing of a key file's.

    Raises:
        KeyFileError: When the key file cannot be used, or is missing while something is wrapped with it.
        AwsCredentialsError: When there are none to ask KMS with.
        KmsError: When KMS is to wrap and cannot be used.
    """

    async def no_file_wrapped_anything() -> bool:
        for tenant_id in await list_tenants(database):
            async with database.transaction(LogScope(tenant_id)) as transaction:
                keys = await RotationRepository().list_tenant_keys(transaction)
            wrapped = [key.wrapped for key in keys if key.wrapped is not None]
            wrapped += await list_wrapped_keys(database, tenant_id)
            if not all(is_wrapped_by_kms(one) for one in wrapped):
                return False
        return True

    async with AsyncExitStack() as stack:
        kms = await _open_kms(stack, settings)
        if kms is not None and settings.key_provider == "aws_kms":
            await kms.check()
            yield CombinedKeyProvider(kms, file=KeyFile.closed(settings.key_path), kms=kms)
            return
        file = await KeyFile.open(settings.key_path, may_create=no_file_wrapped_anything)
        yield CombinedKeyProvider(file, file=file, kms=kms)


async def _open_kms(stack: AsyncExitStack, settings: Settings) -> AwsKms | None:
    if settings.kms_key_id is None:
        return None
    clock, endpoint = SystemClock(), settings.kms_endpoint
    client = KmsClient(
        # Of its own: whatever the model servers do, it has a connection.
        await stack.enter_async_context(open_client()),
        None if endpoint is None else str(endpoint).rstrip("/"),
        AwsCredentials.from_environment(os.environ),
        clock=clock,
        jitter=random.random,
    )
    others = [KmsKey(arn) for arn in settings.kms_other_key_ids]
    return AwsKms(client, KmsKey(settings.kms_key_id), others, clock=clock)

"""The blob store that the settings name."""

from urllib.parse import urlsplit

from pydantic import SecretStr

from undercroft.kit.settings import Settings
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.s3 import Bucket, S3BlobStore


def open_blob_store(settings: Settings) -> BlobStore:
    """A bucket where ``blob_store_url`` names one, else the folder beside the database."""
    if settings.blob_store_url is None:
        return LocalBlobStore(settings.blobs_dir)
    url = urlsplit(settings.blob_store_url)
    endpoint = settings.s3_endpoint
    return S3BlobStore(
        Bucket(
            name=url.netloc,
            prefix=url.path.strip("/"),
            endpoint=None if endpoint is None else str(endpoint).rstrip("/"),
            region=settings.s3_region,
            access_key_id=_reveal(settings.s3_access_key_id),
            secret_access_key=_reveal(settings.s3_secret_access_key),
        )
    )


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()

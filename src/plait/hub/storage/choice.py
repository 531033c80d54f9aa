# SPDX-License-Identifier: Apache-2.0
"""Which store the settings name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from plait.errors import BadInput, MissingExtra
from plait.hub.storage.base import ObjectStore
from plait.hub.storage.disk import DiskStore
from plait.settings import Settings

_BUCKET = re.compile(r"\A[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_PREFIX = re.compile(r"\A[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*\Z")
_LOCATION = re.compile(r"\A/[A-Za-z0-9_/-]+\Z")


def open_store(
    settings: Settings, address: str | None = None, environ: Mapping[str, str] | None = None
) -> ObjectStore:
    """Open the store at ``address`` (the settings' own if None): ``disk``, empty, or ``s3://…``.

    Raises:
        BadInput: a setting of it cannot be; the sentence names it.
        MissingExtra: an S3 store is asked for and its package is not installed.
    """
    address = settings.store if address is None else address
    if settings.accel_redirect and not _LOCATION.match(settings.accel_redirect):
        raise BadInput(
            f"PLAIT_ACCEL_REDIRECT is {settings.accel_redirect!r}; it is the path of an internal "
            "location of nginx, as /_plait_blobs."
        )
    if settings.lfs_part_size < 5 * 2**20:
        raise BadInput("PLAIT_LFS_PART_SIZE must be at least 5242880 bytes.")
    if address in ("", "disk"):
        return DiskStore(settings.dir, settings.temporary_dir)
    parts = urlsplit(address)
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not _BUCKET.match(parts.netloc) or parts.query or parts.fragment:
        raise BadInput(
            f"PLAIT_STORE is {address!r}. Leave it empty for the hub's folder, or write "
            "s3://bucket/prefix with the name of a bucket."
        )
    if prefix and (not _PREFIX.match(prefix) or ".." in prefix.split("/")):
        raise BadInput(f"The prefix {prefix!r} of PLAIT_STORE may have letters, digits and ._-/.")
    return _connect(settings, parts.netloc, prefix, os.environ if environ is None else environ)


def _connect(
    settings: Settings, bucket: str, prefix: str, environ: Mapping[str, str]
) -> ObjectStore:
    try:
        from plait.hub.storage.s3 import connect
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise MissingExtra("The package obstore, which an S3 store needs,", "s3") from None

    def pick(value: str, *names: str) -> str:
        return value or next((environ[name] for name in names if environ.get(name)), "")

    endpoint = pick(settings.s3_endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    for name, url in (
        ("PLAIT_S3_ENDPOINT", endpoint),
        ("PLAIT_S3_PUBLIC_ENDPOINT", settings.s3_public_endpoint),
    ):
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
            raise BadInput(f"{name} is {url!r}; write it as https://host or http://host:port.")
    access = pick(settings.s3_access_key, "AWS_ACCESS_KEY_ID")
    secret = pick(settings.s3_secret_key, "AWS_SECRET_ACCESS_KEY")
    if bool(access) != bool(secret):
        raise BadInput(
            "PLAIT_S3_ACCESS_KEY and PLAIT_S3_SECRET_KEY belong together; set both or neither."
        )
    return connect(
        bucket,
        prefix,
        endpoint=endpoint,
        public_endpoint=settings.s3_public_endpoint,
        region=pick(settings.s3_region, "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        access_key=access,
        secret_key=secret,
        session_token="" if settings.s3_access_key else environ.get("AWS_SESSION_TOKEN", ""),
    )

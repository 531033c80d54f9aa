# SPDX-License-Identifier: Apache-2.0
"""Objects in an S3-compatible store, through the package ``obstore``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObjectMissing
from obstore.store import S3Store as _Store

from plait.errors import StorageFull, StoreUnavailable
from plait.hub.storage.base import CHUNK, ObjectStore, StoredObject, check_name
from plait.hub.storage.signing import Signer

_PART = 16 * 2**20
_AT_ONCE = 4
_FULL = ("InsufficientStorage", "QuotaExceeded", "507 ", "EntityTooLarge")


class S3Store(ObjectStore):
    """Objects under ``prefix`` in a bucket.

    An object is uploaded in parts and appears when the last one has arrived. ``signer`` is None
    when the hub's credentials are the machine's own: the hub then sends every byte itself.
    """

    def __init__(self, store: _Store, bucket: str, prefix: str, signer: Signer | None) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix
        self._signer = signer

    @property
    def address(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, name: str, source: Path | bytes) -> None:
        """Store bytes under ``name``; large ones in parts."""
        key = check_name(name)
        with self._errors():
            obstore.put(self._store, key, source, chunk_size=_PART, max_concurrency=_AT_ONCE)

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes ``start`` to ``end`` (exclusive)."""
        key = check_name(name)
        with self._errors():
            if end is not None and end <= start:
                obstore.head(self._store, key)
                return iter(())
            if end is None:
                found = obstore.get(
                    self._store, key, options={"range": {"offset": start}} if start else None
                )
            else:
                found = obstore.get(self._store, key, options={"range": (start, end)})
            stream = found.stream(min_chunk_size=CHUNK)
        return self._pieces(iter(stream))

    def _pieces(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            with self._errors():
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)

    def head(self, name: str) -> StoredObject | None:
        """Describe an object; None if it is not there."""
        key = check_name(name)
        try:
            with self._errors():
                found = obstore.head(self._store, key)
        except FileNotFoundError:
            return None
        return StoredObject(name, found["size"], found["last_modified"].timestamp())

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        key = check_name(name)
        try:
            with self._errors():
                obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object of a folder."""
        with self._errors():
            pages = iter(obstore.list(self._store, prefix.rstrip("/"), chunk_size=1000))
        while True:
            with self._errors():
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                moment = found["last_modified"].timestamp()
                yield StoredObject(str(found["path"]), found["size"], moment)

    def signed_url(
        self,
        name: str,
        seconds: int,
        *,
        headers: dict[str, str] | None = None,
        part: tuple[int, int] | None = None,
    ) -> str | None:
        """Return an address that opens the object, or the part of it, for some time."""
        if self._signer is None:
            return None
        key = f"{self._prefix}/{check_name(name)}".lstrip("/")
        byte_range = f"bytes={part[0]}-{part[1] - 1}" if part else ""
        return self._signer.get(key, seconds, answer=headers, byte_range=byte_range)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ObjectMissing as error:
            raise FileNotFoundError(str(error)) from None
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            text = str(error)
            if any(word in text for word in _FULL):
                raise StorageFull(
                    f"The store {self.address} has no room left. Make room in it and try again."
                ) from error
            reason = text.splitlines()[0][:300] if text else type(error).__name__
            raise StoreUnavailable(
                f"The store {self.address} does not take the hub's request ({reason}). "
                "Check its address and key, and try again."
            ) from error


def connect(
    bucket: str,
    prefix: str,
    *,
    endpoint: str,
    public_endpoint: str,
    region: str,
    access_key: str,
    secret_key: str,
    session_token: str,
) -> S3Store:
    """Make an `S3Store`; nothing is sent yet.

    Empty keys mean the machine's own credentials (role, web identity, container).
    """
    config: dict[str, str] = {"region": region}
    if endpoint:
        config["endpoint"] = endpoint
    if access_key:
        config |= {"access_key_id": access_key, "secret_access_key": secret_key}
        if session_token:
            config["session_token"] = session_token
    store = _Store(
        bucket,
        prefix=prefix or None,
        config=config,  # type: ignore[arg-type]
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": "600s"},
        retry_config={"max_retries": 4},
    )
    address = public_endpoint or endpoint or f"https://s3.{region}.amazonaws.com"
    signer = (
        Signer(address.rstrip("/"), bucket, region, access_key, secret_key, session_token)
        if access_key
        else None
    )
    return S3Store(store, bucket, prefix, signer)

# SPDX-License-Identifier: Apache-2.0
"""Signed addresses of S3 objects (AWS Signature Version 4, in the query).

Written out here because the signature must cover two things that store libraries leave out: the
headers of the answer (the file's own name), and the Range header, so that an address for a part
of an object opens that part alone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Signer:
    """Signs GET requests for one bucket, addressed by path.

    ``endpoint`` is the store's address without the bucket, as ``https://s3.eu-1.example``.
    """

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
    session_token: str = ""

    def get(
        self,
        key: str,
        seconds: int,
        *,
        answer: dict[str, str] | None = None,
        byte_range: str = "",
        moment: datetime | None = None,
    ) -> str:
        """Return an address that opens ``key`` for GET.

        Args:
            key: the object's key.
            seconds: how long it works; S3 allows a week.
            answer: headers that the answer shall have.
            byte_range: the Range header that the request must have, if any.
            moment: from when on; now if not given.
        """
        moment = moment or datetime.now(UTC)
        stamp = moment.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        parts = urlsplit(self.endpoint)
        path = quote(f"{parts.path.rstrip('/')}/{self.bucket}/{key}", safe="/-_.~")
        headers = {"host": parts.netloc}
        if byte_range:
            headers["range"] = byte_range
        signed = ";".join(sorted(headers))
        query = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(min(seconds, 604_800)),
            "X-Amz-SignedHeaders": signed,
        }
        if self.session_token:
            query["X-Amz-Security-Token"] = self.session_token
        for name, value in (answer or {}).items():
            query[f"response-{name.lower()}"] = value
        text = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in sorted(query.items())
        )
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        request = f"GET\n{path}\n{text}\n{lines}\n{signed}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key_bytes = f"AWS4{self.secret_key}".encode()
        for part in (stamp[:8], self.region, "s3", "aws4_request"):
            key_bytes = _mac(key_bytes, part)
        signature = _mac(key_bytes, f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}").hex()
        return f"{parts.scheme}://{parts.netloc}{path}?{text}&X-Amz-Signature={signature}"


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

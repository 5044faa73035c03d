"""
Check that a request was signed with a sheet's key, and sign what we post: the Standard Webhooks header set, over the
raw bytes.

`webhook-id`, `webhook-timestamp` (Unix seconds, 5 minutes of tolerance) and `webhook-signature` ("v1,<base64>"), where
the signed text is `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from chalicelib.contract.errors import Rejected

NONCE_MEMORY_S = 900
"""How long a request id is remembered: more than the tolerance on both sides of now."""

# standardwebhooks 1.1.0 reads any number (1.8e9, +1800000000, digits of other alphabets) and checks what it has read,
# not what was signed.
_STAMP = re.compile(r"[1-9][0-9]{0,11}")

UNSIGNED = Rejected(
    "bad_signature",
    "The request was not signed with this sheet's key. Open ComfySheet > Settings and paste the key again; "
    "if that does not help, check that the computer's clock is right.",
)


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes]) -> str:
    """
    Answer the request's id if one of *secrets* (raw bytes; several while a key is rotated) signed it.

    Raise `Rejected` otherwise, for whatever reason: who forges learns nothing.
    """
    for secret in secrets:
        try:
            # 1.1.0 raises ValueError, UnicodeDecodeError or binascii.Error on malformed input, not only its own error.
            Webhook(base64.b64encode(secret).decode()).verify(body, dict(headers), json_parse=False)
            if not (_is_canonical(headers["webhook-signature"]) and _STAMP.fullmatch(headers["webhook-timestamp"])):
                continue
        except Exception:
            continue
        return headers["webhook-id"]
    raise UNSIGNED


def _is_canonical(signatures: str) -> bool:
    """Say whether each signature is written as base64 writes it: the last digit's spare bits decode to the same."""
    texts = [signature.partition(",")[2] for signature in signatures.split(" ")]
    return all(text and base64.b64encode(base64.b64decode(text)).decode() == text for text in texts)


def signed_headers(message_id: str, at_s: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Sign an outgoing *body* with each of *secrets* (`whsec_…`): the header holds one signature for each."""
    # 1.1.0 takes any time for UTC, whatever its zone.
    at = datetime.fromtimestamp(at_s, UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, body.decode()) for secret in secrets),
    }

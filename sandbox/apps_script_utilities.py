"""Be Utilities: bytes, digests, signatures, time. Bytes are lists of signed numbers (-128..127), as at Google's."""

import base64
import binascii
import hashlib
import hmac
import re
import struct
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sandbox.apps_script_host import Choice, Face, ScriptFault
from sandbox.apps_script_run import Run

Bytes = list[int]

_DIGESTS: Final = {"MD5": "md5", "SHA_1": "sha1", "SHA_256": "sha256", "SHA_384": "sha384", "SHA_512": "sha512"}
_WEB_SAFE: Final = str.maketrans("-_", "+/")
_DATE_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+")
_DATE_PARTS: Final[dict[str, Callable[[datetime], str]]] = {
    "yyyy": lambda at: f"{at.year:04d}",
    "yy": lambda at: f"{at.year % 100:02d}",
    "MMMM": lambda at: at.strftime("%B"),
    "MMM": lambda at: at.strftime("%b"),
    "MM": lambda at: f"{at.month:02d}",
    "M": lambda at: str(at.month),
    "dd": lambda at: f"{at.day:02d}",
    "d": lambda at: str(at.day),
    "HH": lambda at: f"{at.hour:02d}",
    "H": lambda at: str(at.hour),
    "mm": lambda at: f"{at.minute:02d}",
    "ss": lambda at: f"{at.second:02d}",
    "SSS": lambda at: f"{at.microsecond // 1000:03d}",
    "Z": lambda at: at.strftime("%z"),
    "XXX": lambda at: at.strftime("%z")[:3] + ":" + at.strftime("%z")[3:],
    "EEE": lambda at: at.strftime("%a"),
    "EEEE": lambda at: at.strftime("%A"),
}


def signed(raw: bytes) -> Bytes:
    """Give the bytes as a script has them."""
    return list(struct.unpack(f"{len(raw)}b", raw))


def raw_of(value: Bytes | str) -> bytes:
    """Take bytes, or the UTF-8 of a text, from a script; numbers beyond -128..127 are refused as at Google's."""
    if isinstance(value, str):
        # Half a surrogate pair has no UTF-8; Java, which does this at Google's, writes a question mark.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\ufffd", "?").encode()
    try:
        return struct.pack(f"{len(value)}b", *(int(one) for one in value))
    except struct.error as error:
        raise ScriptFault("Invalid argument: value is not a byte array") from error


class Blob(Face):
    """Be bytes with a type and a name."""

    NAME = "Blob"

    def __init__(self, raw: bytes, content_type: str | None = None, name: str | None = None) -> None:
        """Hold *raw*."""
        self.raw = raw
        self.content_type = content_type
        self._name = name

    def getBytes(self) -> Bytes:
        """Give the bytes."""
        return signed(self.raw)

    def getDataAsString(self, charset: str = "UTF-8") -> str:
        """Give the text."""
        return self.raw.decode(charset, "replace")

    def getContentType(self) -> str | None:
        """Give the type."""
        return self.content_type

    def getName(self) -> str | None:
        """Give the name."""
        return self._name

    def setName(self, name: str) -> "Blob":
        """Change the name."""
        self._name = name
        return self


class Utilities(Face):
    """Be the service."""

    NAME = "Utilities"
    ENUMS = {  # noqa: RUF012
        "DigestAlgorithm": tuple(_DIGESTS),
    }

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._run = run

    def getUuid(self) -> str:
        """Give a random id, lower case."""
        return str(uuid.uuid4())

    def sleep(self, milliseconds: int) -> None:
        """Wait, 5 minutes at most."""
        if milliseconds > 300_000:
            raise ScriptFault("Sleep time must be less than or equal to 300000 ms.")
        self._run.clock.sleep(milliseconds / 1000)

    def newBlob(self, data: Bytes | str, contentType: str | None = None, name: str | None = None) -> Blob:
        """Make a blob."""
        if data == "":
            raise ScriptFault("Empty data is not emulated: Google's answer to newBlob('') is not known")
        return Blob(raw_of(data), contentType or ("text/plain" if isinstance(data, str) else None), name)

    def computeHmacSha256Signature(self, value: Bytes | str, key: Bytes | str) -> Bytes:
        """Sign; value and key are of the same kind, both bytes or both text."""
        if isinstance(value, str) != isinstance(key, str):
            raise ScriptFault(
                "The parameters don't match the method signature for Utilities.computeHmacSha256Signature."
            )
        return signed(hmac.digest(raw_of(key), raw_of(value), "sha256"))

    def computeDigest(self, algorithm: Choice, value: Bytes | str) -> Bytes:
        """Digest."""
        return signed(hashlib.new(_DIGESTS[algorithm.name], raw_of(value)).digest())

    def base64Encode(self, data: Bytes | str) -> str:
        """Encode, padded."""
        return base64.b64encode(raw_of(data)).decode()

    def base64EncodeWebSafe(self, data: Bytes | str) -> str:
        """Encode for addresses, padded all the same."""
        return base64.urlsafe_b64encode(raw_of(data)).decode()

    def base64Decode(self, encoded: str) -> Bytes:
        """Decode."""
        return self._decode(encoded)

    def base64DecodeWebSafe(self, encoded: str) -> Bytes:
        """Decode what is made for addresses; it must be padded."""
        return self._decode(encoded.translate(_WEB_SAFE))

    def formatDate(self, date: datetime, timeZone: str, format: str) -> str:
        """Show *date* by a pattern of Java's SimpleDateFormat."""
        at = date.astimezone(ZoneInfo(timeZone))
        return "".join(_date_part(found[0], at) for found in _DATE_TOKEN.finditer(format))

    def _decode(self, encoded: str) -> Bytes:
        try:
            return signed(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError) as error:
            raise ScriptFault("Could not decode string.") from error


def _date_part(token: str, at: datetime) -> str:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'") or "'"
    if not token[0].isalpha():
        return token
    if token not in _DATE_PARTS:
        raise ScriptFault(f"Utilities.formatDate's {token} is not emulated")
    return _DATE_PARTS[token](at)

"""
Put messages that nobody can read among the dead letters, where an alarm looks.

At once: no later reader understands them either, and on a FIFO queue they hold up their whole group.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from chalicelib.contract.errors import Unavailable

log = logging.getLogger(__name__)


def buried(
    record: Mapping[str, Any], fault: ValidationError, bury: Callable[[Mapping[str, Any], str], None]
) -> float | None:
    """
    Bury a *record* whose body has a *fault*; None when that is done and it can be deleted.

    Or in how many seconds it is to come again, because the dead letters could not be reached (0: after a while).
    """
    kinds = ", ".join(sorted({each["type"] for each in fault.errors(include_input=False, include_url=False)}))
    about = {"action": "bury", "fault": kinds, "message_id": record.get("messageId")}
    try:
        bury(record, f"the body is no message of ours ({kinds})")
    except Unavailable as reason:
        log.warning("an unreadable message stays", extra={**about, "reason": reason.message})
        return reason.retry_in_s or 0
    log.error("an unreadable message went to the dead letters", extra=about)
    return None

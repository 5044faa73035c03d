"""
Hear when EC2 is about to take this machine away, and say how many seconds are left.

- A spot machine: the notice comes two minutes before, at best.
- A machine of an Auto Scaling group that is being ended (by the autoscaler, a person, or because a better spot machine
  has come): its target state becomes "Terminated". How long the group then waits is its lifecycle hook's to say, so we
  are told by a setting (EC2 Auto Scaling user guide, "Retrieve the target lifecycle state through instance metadata").

The metadata service (IMDSv2: a token first) is asked every 5 s, as AWS advises. On any other machine nothing answers,
and nothing is asked again. RunPod gives none that we know of but SIGTERM.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import requests
import structlog

from worker.clock import Clock

STANDARD_URL: Final = "http://169.254.169.254"
ASK_S: Final = 5.0
ANSWER_S: Final = 0.5
TOKEN_S: Final = 21_600
TRIES: Final = 2
LEFT_S: Final = 90.0
"""When the notice does not say when."""

log = structlog.get_logger()


class Notices:
    """Watch for a notice; *on_notice* hears the reason and the seconds left, once. `run` on a thread of its own."""

    def __init__(
        self,
        environment: Mapping[str, str],
        clock: Clock,
        on_notice: Callable[[str, float], None],
        drain_s: float = LEFT_S,
    ) -> None:
        """*drain_s*: how long a group waits for a machine that it ends."""
        self._url = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", STANDARD_URL).rstrip("/")
        self._is_wanted = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"
        self._clock = clock
        self._on_notice = on_notice
        self._drain_s = drain_s
        self._closing = threading.Event()
        self._session = requests.Session()
        self._session.trust_env = False
        self._token: str | None = None

    def run(self) -> None:
        """Ask until a notice comes; on a machine that is none of EC2's, and after the notice, wait for `close`."""
        if self._is_wanted and self._is_ec2():
            while not self._closing.is_set() and not self._has_notice():
                self._clock.wait(self._closing, ASK_S)
        self._closing.wait()

    def close(self) -> None:
        """End `run`."""
        self._closing.set()

    def _is_ec2(self) -> bool:
        return any(self._renew_token() for _ in range(TRIES) if not self._closing.is_set())

    def _renew_token(self) -> bool:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
        try:
            answer = self._session.put(f"{self._url}/latest/api/token", headers=headers, timeout=ANSWER_S)
        except requests.RequestException:
            return False
        self._token = answer.text if answer.status_code == 200 else None
        return self._token is not None

    def _has_notice(self) -> bool:
        """Ask once for each kind; 404 is the normal answer: nothing is planned, or there is no group."""
        spot = self._ask("spot/instance-action")
        if spot is not None:
            self._tell(*_read(spot, self._clock.now_ms()))
            return True
        state = self._ask("autoscaling/target-lifecycle-state")
        if state is not None and state.text.strip() == "Terminated":
            self._tell("its group ends it", self._drain_s)
            return True
        return False

    def _ask(self, what: str) -> requests.Response | None:
        headers = {"X-aws-ec2-metadata-token": self._token or ""}
        try:
            answer = self._session.get(f"{self._url}/latest/meta-data/{what}", headers=headers, timeout=ANSWER_S)
        except requests.RequestException:
            return None
        if answer.status_code == 401:
            self._renew_token()
        return answer if answer.status_code == 200 else None

    def _tell(self, why: str, left_s: float) -> None:
        log.warning("EC2 takes this machine away", action="notice", reason=why, seconds=round(left_s))
        self._on_notice(why, left_s)


def _read(answer: requests.Response, now_ms: int) -> tuple[str, float]:
    """Read {"action": "terminate", "time": "2026-11-21T08:22:00Z"}; what is missing is assumed."""
    try:
        told = answer.json()
        at = datetime.fromisoformat(str(told["time"]).replace("Z", "+00:00"))
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return str(told.get("action", "terminate"))[:40], max(0.0, at.timestamp() - now_ms / 1000)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "terminate", LEFT_S

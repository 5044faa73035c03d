"""
Speak RunPod's REST API v2: pods, templates and the catalog of GPUs.

Facts are from its public schema (api.runpod.io/v2/openapi.json, 2.0.0, August 2026; tests/data/runpod). REST v1 is
retired in November 2026. An unknown field in a request is a 422; faults are RFC 9457 problems (`title`, `status`,
`detail`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chalicelib import __version__
from chalicelib.contract.errors import Rejected, Unavailable

API_URL: Final = "https://api.runpod.io"
CONNECT_S: Final = 3.05
ANSWER_S: Final = 30.0
BUSY_S: Final = 30.0
"""When to come again after a 429 that does not say."""
DETAIL_MOST: Final = 300
_GOOD: Final = (200, 201, 204)


class _Answer(BaseModel):
    """Be read from RunPod's JSON: what we do not know is left out, what may be missing has a default."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


A = TypeVar("A", bound=_Answer)


class PodGpu(_Answer):
    """Hold a pod's GPUs."""

    id: str = ""
    count: int = 1


class Pod(_Answer):
    """Hold one pod as RunPod describes it. `cost` is in US dollars an hour, 0 when it does not run."""

    id: str = Field(min_length=1)
    name: str
    status: str
    env: dict[str, str] | None = None
    gpu: PodGpu = PodGpu()
    cloud: str = ""
    cost: float = 0.0
    locked: bool = False
    data_center: str | None = Field(default=None, alias="dataCenterId")
    created: str | None = Field(default=None, alias="createdAt")
    started: str | None = Field(default=None, alias="startedAt")

    @property
    def since_ms(self) -> int:
        """Say since when it costs (ms since the epoch); 0: RunPod does not say."""
        return _ms(self.started) or _ms(self.created)


class _Price(_Answer):
    secure: float = 0.0
    community: float = 0.0


class Gpu(_Answer):
    """Hold a type of GPU in the catalog: `memory` in GB, prices in US dollars an hour for one."""

    id: str
    memory: int = 0
    secure: bool = False
    community: bool = False
    price: _Price = _Price()
    availability: str = "NONE"

    def hour_price(self, cloud: str) -> float | None:
        """Say the list price in *cloud*; None: not offered there."""
        offered, price = (
            (self.secure, self.price.secure) if cloud == "SECURE" else (self.community, self.price.community)
        )
        return price if offered and price > 0 else None


class Template(_Answer):
    """Hold a saved set of pod settings."""

    id: str
    name: str


class _Pods(_Answer):
    pods: list[Pod]


class _Gpus(_Answer):
    gpus: list[Gpu]


class _Templates(_Answer):
    templates: list[Template]


class NotPlaced(Exception):
    """Say that RunPod could not place this very pod; another type of GPU or place may do. The text is RunPod's."""


class Unanswered(Unavailable):
    """Say that a request may or may not have been carried out: look before it is repeated."""


class _Bearer(requests.auth.AuthBase):
    """Name the key on every request; without this a netrc file of the machine would take its place."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class RunPodApi:
    """Call RunPod at *url*. Every call raises `Unavailable` (later) or `Rejected` (the key or the request is wrong)."""

    def __init__(self, session: requests.Session, api_key: str, url: str = API_URL) -> None:
        if not api_key.strip() or not api_key.strip().isascii() or len(api_key.split()) != 1:
            raise Rejected("no_key", "There is no RunPod API key: make one in RunPod's console under Settings.")
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Rejected("bad_address", f"RunPod's address must begin with https://, or the key would be read: {url}")
        self._session = session
        self._auth = _Bearer(api_key.strip())
        self._url = url.rstrip("/")

    def pods(self) -> list[Pod]:
        """List all pods of the account, whosever they are."""
        return self._read(_Pods, "/v2/pods").pods

    def create(self, order: Mapping[str, object]) -> Pod:
        """Order one pod (CreatePodRequest). Raises `NotPlaced`, and `Unanswered` when one may have been made."""
        answer = self._call("POST", "/v2/pods", json=dict(order))
        # 400 is "no capacity" as well as "breaks a rule", with no code to tell them apart; 403 is a pool that this
        # account may not use (schema, createPod).
        if answer.status_code in (400, 403):
            raise NotPlaced(_detail(answer))
        self._judge(answer)
        try:
            return Pod.model_validate_json(answer.content)
        except ValidationError as error:
            raise Unanswered("RunPod's answer to the order is not understood.", BUSY_S) from error

    def terminate(self, pod_id: str) -> None:
        """Remove a pod for good; one that is gone is no fault."""
        answer = self._call("DELETE", f"/v2/pods/{quote(pod_id, safe='')}")
        if answer.status_code != 404:
            self._judge(answer)

    def gpus(self, cloud: str, count: int = 1) -> list[Gpu]:
        """List the types of GPU, with prices and with the stock for pods of *count* in *cloud*."""
        question: dict[str, str | int] = {"include": "AVAILABILITY", "product": "POD", "cloud": cloud, "count": count}
        return self._read(_Gpus, "/v2/catalog/gpus", question).gpus

    def save_template(self, template: Mapping[str, object]) -> tuple[Template, bool]:
        """Create the template, or change the one of its name; whether it is new comes second."""
        present = self._read(_Templates, "/v2/templates").templates
        same = [each for each in present if each.name == template["name"]]
        if same:
            answer = self._call("PATCH", f"/v2/templates/{quote(same[0].id, safe='')}", json=dict(template))
        else:
            answer = self._call("POST", "/v2/templates", json=dict(template))
        self._judge(answer)
        return _parsed(Template, answer), not same

    def _read(self, kind: type[A], path: str, question: Mapping[str, str | int] | None = None) -> A:
        answer = self._call("GET", path, params=dict(question or {}))
        self._judge(answer)
        return _parsed(kind, answer)

    def _call(self, method: str, path: str, **told: Any) -> requests.Response:
        try:
            return self._session.request(
                method,
                self._url + path,
                auth=self._auth,
                headers={"User-Agent": f"ComfySheet/{__version__}", "Accept": "application/json"},
                timeout=(CONNECT_S, ANSWER_S),
                allow_redirects=False,
                **told,
            )
        except requests.RequestException as error:
            raise Unanswered(f"RunPod cannot be reached ({type(error).__name__}).", BUSY_S) from error

    def _judge(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status in _GOOD:
            return
        if status == 401:
            raise Rejected("bad_key", "RunPod refused the API key (401): it is wrong or was deleted. Make a new one.")
        if status == 402:
            raise Rejected("no_balance", f"RunPod's account has no money left (402): {_detail(answer)}")
        if status == 403:
            raise Rejected("key_may_not", f"RunPod's API key may not do this (403): {_detail(answer)}")
        if status == 429:
            raise Unavailable("RunPod says that it was asked too often (429).", _retry_in_s(answer))
        if 400 <= status < 500:
            raise Rejected("refused", f"RunPod refused the request ({status}): {_detail(answer)}")
        raise Unanswered(f"RunPod does not work right now (status {status}).", BUSY_S)


def _parsed(kind: type[A], answer: requests.Response) -> A:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise Unavailable("RunPod's answer is not understood; has its API changed?", BUSY_S) from error


def _detail(answer: requests.Response) -> str:
    """Find the sentence in a problem, with what is wrong with each field."""
    try:
        problem = answer.json()
        said = [str(problem["detail"]), *map(str, problem.get("errors", []))]
    except (ValueError, KeyError, TypeError, AttributeError):
        said = [answer.text.strip() or "no reason given"]
    return "; ".join(said)[:DETAIL_MOST]


def _retry_in_s(answer: requests.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else BUSY_S


def _ms(text: str | None) -> int:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return 0
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)

"""
List the functions of a stage, once: what Chalice calls them, where they log, what they read.

Chalice (1.34, deploy/appgraph.py) names the API's function APP-STAGE and every other APP-STAGE-NAME, NAME being the
`name=` of its decorator in app.py. We call them the same when the stack makes them, so commands, alarms and log groups
have one name, whichever way a stage was deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Function:
    """
    Name one function.

    `word` is how we speak of it: `.chalice/policy-WORD.json`, and with a capital the parameter WORDReservedConcurrency,
    the condition WORDReserved and the log group's resource WORDLogs in resources.yaml. `logical` is its resource in the
    stack: a new one there would be a second function of the same name, which AWS refuses; so these stay. `queue`, for a
    function that reads one, is the first part of its queue's resource (`Completions`Queue).
    """

    word: str
    logical: str
    chalice: str
    queue: str = ""

    @property
    def title(self) -> str:
        return self.word.title()

    @property
    def packaged(self) -> str:
        """Return its resource in Chalice's template."""
        return self.logical if self.word == "api" else self.chalice.title()

    @property
    def suffix(self) -> str:
        """Return what follows comfysheet-STAGE in its name."""
        return "" if self.word == "api" else f"-{self.chalice}"

    def name(self, stage: str) -> str:
        return f"comfysheet-{stage}{self.suffix}"


API: Final = Function("api", "APIHandler", "api_handler")
COMPLETION: Final = Function("completion", "OnCompletion", "completion", queue="Completions")
DELIVERY: Final = Function("delivery", "OnDelivery", "delivery", queue="Deliveries")
SWEEP: Final = Function("sweep", "OnSweep", "sweep")
SCALE: Final = Function("scale", "OnScale", "scale")

FUNCTIONS: Final = (API, COMPLETION, DELIVERY, SWEEP, SCALE)

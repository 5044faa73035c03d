"""The route by which a program learns about its own key."""

from __future__ import annotations

from typing import Final

from chalicelib.me_api import Me
from chalicelib.operation import Operation

ME: Final = (
    Operation(
        "GET",
        "/api/v2/me",
        "getMe",
        "Say what the key may do and use, and what it has used.",
        lambda world, call: world.me_api.get(call),
        tag="Keys",
        scope="read",
        answers={200: Me},
    ),
)

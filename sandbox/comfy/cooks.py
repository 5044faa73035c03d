"""
Register the functions that run node classes: `@node("Class")` above a function makes it the class's cook.

A cook names only the inputs that it uses, and `kitchen` when it needs the world around it.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.comfy.values import Result

Cook = Callable[..., Result]
Check = Callable[..., "bool | str"]  # (folders, **constant inputs) -> True, or what is wrong; as VALIDATE_INPUTS
Fingerprint = Callable[..., str]  # (folders, **constant inputs) -> what a file holds; as IS_CHANGED

COOKS: dict[str, Cook] = {}
CHECKS: dict[str, Check] = {}
FINGERPRINTS: dict[str, Fingerprint] = {}


def node(
    class_type: str,
    *,
    check: Check | None = None,
    fingerprint: Fingerprint | None = None,
) -> Callable[[Cook], Cook]:
    """Register the function that runs *class_type*; *check* and *fingerprint* see its constant inputs."""

    def register(cook: Cook) -> Cook:
        COOKS[class_type] = cook
        if check:
            CHECKS[class_type] = check
        if fingerprint:
            FINGERPRINTS[class_type] = fingerprint
        return cook

    return register

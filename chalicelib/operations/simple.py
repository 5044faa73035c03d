"""The routes of older gateways, in their words."""

from __future__ import annotations

from typing import Final

from chalicelib.operation import Operation
from chalicelib.simple_api import GenerateRequest, Task, TaskView

SIMPLE: Final = (
    Operation(
        "POST",
        "/generate",
        "generate",
        "Submit a job (simple form).",
        lambda world, call: world.simple_api.generate(call),
        tag="Simple",
        scope="submit",
        body=GenerateRequest,
        headers={"Idempotency-Key": "A word of your own: the same key and body are the same task."},
        answers={200: Task, 202: Task},
    ),
    Operation(
        "GET",
        "/tasks/{task_id}",
        "getTask",
        "Show a job (simple form).",
        lambda world, call: world.simple_api.task(call),
        tag="Simple",
        scope="read",
        answers={200: TaskView},
    ),
)

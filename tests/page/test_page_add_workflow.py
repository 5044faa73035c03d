"""
A workflow that nobody has seen before, exported from ComfyUI: proposed, added from the sheet, and rendered at once.

Both ways in one world that runs all the time: a person with the menu's dialog, a program with the API. Nothing is
deployed or restarted in between.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from sandbox.example import header_columns
from sandbox.world import CLIENT, World
from tests.page.alone import opened
from tests.waiting import until

EXPORTED: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 384, "batch_size": 1}},
    "6": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a lighthouse", "clip": ["4", 1]},
        "_meta": {"title": "CLIP Text Encode (Prompt)"},
    },
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5,
            "steps": 3,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}


@pytest.fixture
def page(chromium: Browser, world: World) -> Iterator[Page]:
    with opened(chromium, world.server.url) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.locator(".tabulator-row").nth(5).wait_for()
        yield page


def text(world: World, row: int, header: str) -> str:
    sheet = world.book.sheets[0]
    return str(sheet.cell(row - 1, header_columns(sheet)[header]).formatted)


def ask(world: World, key: str, method: str, path: str, body: object = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.request(method, world.cloud.api_url + path, json=body, headers=headers, timeout=60)


def finished(world: World, key: str, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job's end."""
    ends = time.monotonic() + 60
    while job["status"] in ("queued", "running") and time.monotonic() < ends:
        job = ask(world, key, "GET", f"/api/v2/jobs/{job['id']}").json()
    return job


def press_menu(page: Page, label: str) -> None:
    page.get_by_role("button", name="ComfySheet").click()
    page.get_by_role("menuitem", name=label).click()


def generate(page: Page, world: World, row: int, **cells: str) -> None:
    """Fill a row, select it, press the menu, and wait until it is done."""
    sheet = world.book.sheets[0]
    columns = header_columns(sheet)
    with world.book.editing("person"):
        for header, value in cells.items():
            sheet.enter(row - 1, columns[header], value)
    page.locator(".tabulator-cell.tabulator-row-header", has_text=re.compile(rf"^{row}$")).click()
    press_menu(page, "Generate selected rows")
    ended = until(world.book, lambda: text(world, row, "Status") in ("done", "error"), 60)
    assert ended and text(world, row, "Status") == "done", text(world, row, "Error")


def test_an_exported_workflow_is_added_in_the_sheet_and_rendered(page: Page, world: World) -> None:
    """Pasted, proposed, added, its columns there; then a row of it becomes a picture, and a program's job, too."""
    press_menu(page, "Add workflow…")
    dialog = page.frame_locator("dialog iframe")
    dialog.get_by_label("Exported workflow (JSON)").fill(json.dumps({"nodes": [], "links": []}))
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("status")).to_contain_text("Workflow > Export (API)")
    dialog.get_by_label("Exported workflow (JSON)").fill(json.dumps(EXPORTED))
    dialog.get_by_label("Name (may be left empty)").fill("Lighthouse")
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_label("What a Workflow cell says")).to_have_value("lighthouse")
    for column in ("Prompt", "Negative prompt", "Seed", "Steps", "Width", "Height"):
        expect(dialog.get_by_label(f"Column of {column}", exact=True)).to_have_value(column)
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text("Rows whose Workflow cell says lighthouse use it now.")
    dialog.get_by_role("button", name="Close").click()

    sheet = world.book.sheets[0]
    assert "lighthouse" in json.dumps(sheet.cell(14, header_columns(sheet)["Workflow"]).validation)
    generate(page, world, 15, Prompt="a lighthouse at dawn", Workflow="lighthouse", Seed="7")

    key = world.keys.maker.new_api(CLIENT)
    shown = ask(world, key, "GET", "/api/v2/workflows/lighthouse").json()
    assert (shown["client"], shown["graph"]) == (CLIENT, EXPORTED)
    body = {"workflow_id": "lighthouse", "inputs": {"prompt": "at night", "seed": 8}}
    job = finished(world, key, ask(world, key, "POST", "/api/v2/jobs", body).json())
    assert (job["status"], len(job["outputs"])) == ("succeeded", 1), job["error"]
    others = world.keys.maker.new_api("somebody-else")
    assert ask(world, others, "GET", "/api/v2/workflows/lighthouse").status_code == 404
    assert ask(world, others, "POST", "/api/v2/jobs", body).json()["error"]["code"] == "unknown_workflow"


def test_an_exported_workflow_is_put_over_the_api_and_rendered(page: Page, world: World) -> None:
    """Inferred, put, used by a program at once and by a row of the sheet; changed; removed; jobs keep their version."""
    key = operator_key(world)
    inferred = ask(world, key, "POST", "/api/v2/workflows:infer", {"graph": EXPORTED, "name": "Beacon"})
    assert inferred.status_code == 200, inferred.text
    proposed = inferred.json()
    assert (proposed["id"], proposed["faults"]) == ("beacon", [])
    put = {"manifest": proposed["manifest"], "graph": EXPORTED}
    first = ask(world, key, "PUT", "/api/v2/workflows/beacon", put)
    assert first.status_code == 201, first.text
    body = {"workflow_id": "beacon", "inputs": {"prompt": "a beacon", "width": 256, "height": 256}}
    job = finished(world, key, ask(world, key, "POST", "/api/v2/jobs", body).json())
    assert job["status"] == "succeeded", job["error"]

    generate(page, world, 16, Prompt="a beacon", Workflow="Beacon")

    put["manifest"] = {**proposed["manifest"], "description": "Changed."}
    second = ask(world, key, "PUT", "/api/v2/workflows/beacon", put)
    assert (second.status_code, len(second.json()["versions"])) == (200, 2)
    assert ask(world, key, "DELETE", "/api/v2/workflows/beacon").status_code == 200
    assert ask(world, key, "GET", "/api/v2/workflows/beacon").status_code == 404
    assert ask(world, key, "GET", f"/api/v2/jobs/{job['id']}").json()["status"] == "succeeded"


def operator_key(world: World) -> str:
    """Make a key that may change the catalog."""
    key = world.keys.maker.new_api(CLIENT)
    table = world.cloud.session().client("dynamodb")
    table.update_item(
        TableName=world.cloud.outputs["KeysTable"],
        Key={"key_id": {"S": key.split("_")[1]}},
        UpdateExpression="SET scopes = :scopes",
        ExpressionAttributeValues={":scopes": {"S": "read submit admin"}},
    )
    return key

"""Judge `workflows infer`: what it prints is a manifest, what it writes is a workflow, and nothing is written over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.contract.errors import Rejected
from chalicelib.contract.infer import infer
from chalicelib.contract.manifest import parse_workflow
from infra.__main__ import main
from infra.workflow_files import FOLDER, read_folder
from infra.workflow_infer import as_yaml

GRAPHS = Path(__file__).parents[1] / "data" / "graphs"
BASE: dict[str, Any] = yaml.safe_load((FOLDER / "base.yaml").read_text())["parameters"]

every = pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.json")), ids=lambda path: path.stem)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a workflow folder that holds the shared definitions and nothing else."""
    made = tmp_path / "workflows"
    made.mkdir()
    shutil.copy(FOLDER / "base.yaml", made)
    return made


@every
def test_what_base_yaml_says_is_left_out_and_comes_back(path: Path) -> None:
    """The slim text means the same as the whole proposal: both make the very same parameters."""
    graph = json.loads(path.read_text())
    proposal = infer(graph)
    text = as_yaml(proposal, BASE)
    slim = parse_workflow("x", yaml.safe_load(text), BASE, graph, file="x.yaml")
    whole = parse_workflow("x", proposal.manifest, BASE, graph, file="x.yaml")
    assert slim.parameters == whole.parameters
    assert "label: Steps\n" not in text


def test_it_prints_yaml_with_the_notes_as_comments(capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads what was guessed above what is proposed; the whole is YAML all the same."""
    assert main(["workflows", "infer", str(GRAPHS / "flux_schnell.json"), "--name", "My flux"]) == 0
    printed = capsys.readouterr().out
    assert "# There is no negative prompt: node 33 (ConditioningZeroOut)" in printed
    assert "  prompt:\n    sets: {node: '6', input: t5xxl}\n" in printed
    assert yaml.safe_load(printed)["name"] == "My flux"


def test_what_it_writes_is_a_workflow(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder passes the check at once; id and graph are the file's."""
    export = folder.parent / "Hires Fix (API).json"
    shutil.copy(GRAPHS / "hires_fix.json", export)
    assert main(["workflows", "infer", str(export), "--write", str(folder)]) == 0
    [workflow] = read_folder(folder)
    assert workflow.id == "hires-fix"
    assert workflow.graph == json.loads(export.read_text())
    assert "- CFG sets node 3 (KSampler) and node 11 (KSampler) together" in capsys.readouterr().out


def test_nothing_is_written_over_without_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest that somebody polished is not lost to a second try."""
    order = ["workflows", "infer", str(GRAPHS / "sd15.json"), "--write", str(folder), "--id", "mine"]
    (folder / "mine.yaml").write_text("name: Mine\n")
    assert main(order) == 1
    assert "mine.yaml stand in" in capsys.readouterr().err
    assert (folder / "mine.yaml").read_text() == "name: Mine\n"
    assert not (folder / "mine.json").exists()
    assert main([*order, "--force"]) == 0
    assert [workflow.id for workflow in read_folder(folder)] == ["mine"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"nodes": [], "links": []}', "Export (API)"),
        ("{", "is not JSON"),
        ("[1]", "JSON object of nodes"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_graph_is_refused_with_a_sentence(
    content: str | None, sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, no file, and the way to do it right."""
    file = folder.parent / "export.json"
    if content is not None:
        file.write_text(content)
    assert main(["workflows", "infer", str(file), "--write", str(folder)]) == 1
    assert sentence in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["base.yaml"]


def test_an_id_that_is_none_is_refused(folder: Path) -> None:
    """base.yaml is no workflow's, and an id is lower case."""
    for wrong in ("base", "Äpfel", "../x"):
        assert main(["workflows", "infer", str(GRAPHS / "sd15.json"), "--write", str(folder), "--id", wrong]) == 1
    assert [path.name for path in folder.iterdir()] == ["base.yaml"]


def test_a_graph_that_saves_nothing_is_printed_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The person sees the proposal and what is left to do in ComfyUI; the exit code says that it is no workflow yet."""
    graph = json.loads((GRAPHS / "sd15.json").read_text())
    graph["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    file = tmp_path / "preview.json"
    file.write_text(json.dumps(graph))
    assert main(["workflows", "infer", str(file)]) == 1
    told = capsys.readouterr()
    assert "prompt:" in told.out
    assert "no node saves anything" in told.err


def test_choices_come_from_a_server_s_own_list(tmp_path: Path) -> None:
    """With object_info the sampler may be what that ComfyUI has, in its old and its new form."""
    graph = json.loads((GRAPHS / "sd15.json").read_text())
    old = {"KSampler": {"input": {"required": {"sampler_name": [["euler", "res_2s"]], "steps": ["INT", {"max": 40}]}}}}
    new = {"KSampler": {"input": {"required": {"sampler_name": ["COMBO", {"options": ["euler", "res_2s"]}]}}}}
    for info in (old, new):
        parameters = infer(graph, object_info=info).manifest["parameters"]
        assert parameters["sampler"]["choices"] == ["euler", "res_2s"]
    assert infer(graph, object_info=old).manifest["parameters"]["steps"]["max"] == 40


@pytest.mark.parametrize(
    "info", [{"KSampler": 7}, {"KSampler": {"input": []}}, {"KSampler": {"input": {"required": 1}}}]
)
def test_a_strange_object_info_is_as_good_as_none(info: dict[str, Any]) -> None:
    """What somebody saved under that name may be anything."""
    graph = json.loads((GRAPHS / "sd15.json").read_text())
    assert infer(graph, object_info=info) == infer(graph)


def test_a_refusal_has_a_code() -> None:
    """Programs read the code, people the sentence."""
    with pytest.raises(Rejected) as refused:
        infer({"1": {"class_type": "X"}})
    assert refused.value.code == "invalid_workflow"

"""One name for each function, whoever makes it: Chalice itself or the stack."""

from pathlib import Path

from chalice.cli.factory import CLIFactory
from chalice.deploy.appgraph import ApplicationGraphBuilder
from chalice.deploy.models import LambdaFunction, Model

from infra.functions import FUNCTIONS

ROOT = Path(__file__).resolve().parents[2]


def functions_of(model: Model) -> list[LambdaFunction]:
    own = [model] if isinstance(model, LambdaFunction) else []
    return own + [found for part in model.dependencies() for found in functions_of(part)]


def made_by_chalice(stage: str) -> dict[str, LambdaFunction]:
    """Return the functions that `chalice deploy --stage STAGE` would make, by name."""
    config = CLIFactory(str(ROOT)).create_config_obj(chalice_stage_name=stage)
    app = ApplicationGraphBuilder().build(config, stage)
    return {function.function_name: function for function in functions_of(app)}


def test_chalice_and_the_stack_call_a_function_the_same() -> None:
    """The table in infra/functions.py is what Chalice makes of app.py, for any stage."""
    assert set(made_by_chalice("trial")) == {function.name("trial") for function in FUNCTIONS}


def test_every_function_has_a_policy_and_limits_of_its_own() -> None:
    """What .chalice/config.json says under a function's name is heard: a misspelt name would be ignored in silence."""
    made = made_by_chalice("prod")
    for function in FUNCTIONS:
        found = made[function.name("prod")]
        assert Path(found.role.policy.filename).name == f"policy-{function.word}.json"  # type: ignore[attr-defined]
        assert found.resource_name == function.chalice
        assert (found.timeout, found.memory_size) != (60, 128), "Lambda's own defaults in Chalice"

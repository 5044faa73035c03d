"""
Run the local cloud: MiniStack as a child process, and the packaged app deployed in it as one stack.

MiniStack runs Lambda functions as real processes, polls their queues and serves their API. It listens on 127.0.0.1
only and checks identities (AUTH=true), so functions are held to their IAM roles.

Credentials (1.5.33, measured). The key id in AWS_ACCESS_KEY_ID of the engine's own environment is the account's root,
as are "test" and any twelve digits; other ids must be IAM's or STS's and are held to their policies. Secrets are
compared for presigned links only, so this guards against wrong policies, not against people on this machine. We draw a
random pair per state folder. A function gets session credentials of its role, its region, and the engine's
AWS_ENDPOINT_URL; it inherits the rest of the engine's environment, which is therefore made from scratch.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from boto3.session import Session

from infra import stack
from infra.functions import API, COMPLETION, DELIVERY, SWEEP, Function
from sandbox.cloud_place import Place, PlaceTaken, settle

ROOT: Final = Path(__file__).resolve().parent.parent
ENGINE_PYTHON: Final = ROOT / ".venv-cloud" / "bin" / "python"
REGION: Final = "us-east-1"
START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 10.0

# Every concurrent call is one process and one unpacked copy of the package. A browser opens six connections.
RESERVED: Final[Mapping[Function, int]] = {API: 10, COMPLETION: 2, DELIVERY: 2, SWEEP: 1}
PARAMETERS: Final[Mapping[str, str]] = {
    "RequireTls": "false",
    "CompletionConcurrency": str(RESERVED[COMPLETION]),
    "DeliveryConcurrency": str(RESERVED[DELIVERY]),
    # A program that is told by webhooks listens on this machine, without a certificate.
    "WebhookNetworks": "127.0.0.0/8",
    **{f"{function.title}ReservedConcurrency": str(size) for function, size in RESERVED.items()},
}


class CloudFailed(Exception):
    """Say why the local cloud did not start, with the end of its log."""


class LocalCloud:
    """
    Hold one running MiniStack: start it, deploy into it, stop it.

    `api_url` and `outputs` are empty until the first deploy.
    """

    def __init__(self) -> None:
        self.state_dir = Path()
        self.keep = False
        self.is_fresh = True
        self.api_url = ""
        self.outputs: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._place = Place()

    def __enter__(self) -> LocalCloud:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._place.port}"

    @property
    def log(self) -> Path:
        return self.state_dir / "engine.log"

    def env(self) -> dict[str, str]:
        """Return what a child process needs to find this cloud, as the account's root."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self._place.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._place.secret_access_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def session(self) -> Session:
        """Return a boto3 session whose clients all speak to this cloud, whatever this process's environment says."""
        return _LocalSession(self.endpoint_url, self._place.access_key_id, self._place.secret_access_key)

    def worker_env(self, name: str = "worker") -> dict[str, str]:
        """Return what a worker process needs, as an IAM user *name* that has the stack's worker policy and no more."""
        iam = self.session().client("iam")
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn=self.outputs["WorkerPolicyArn"])
        iam.put_user_policy(UserName=name, PolicyName="MiniStackBatches", PolicyDocument=_batches_allowed())
        # MiniStack 1.5.33 does not know the key events:source of the policy's condition, and refuses.
        told = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}
        text = json.dumps({"Version": "2012-10-17", "Statement": [told]})
        iam.put_user_policy(UserName=name, PolicyName="MiniStackEvents", PolicyDocument=text)
        for old in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:  # IAM allows two, a kept cloud has one
            iam.delete_access_key(UserName=name, AccessKeyId=old["AccessKeyId"])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        return {**self.env(), **stack.environment(self.outputs), **own}

    def start(self, state_dir: Path, *, keep: bool = False) -> None:
        """
        Start the engine and wait until it answers.

        *state_dir* is made. With *keep* its contents survive from run to run, without it they are wiped now.
        Raises CloudFailed.
        """
        self.state_dir, self.keep = state_dir.resolve(), keep
        if not ENGINE_PYTHON.exists():
            raise CloudFailed(f"MiniStack is not installed: {ENGINE_PYTHON} is missing (`make` installs it).")
        self.state_dir.mkdir(parents=True, exist_ok=True)
        # What a run left behind that ended before its first save is no state to go on from.
        self.is_fresh = not (keep and (self.state_dir / "state" / "saved").exists())
        if not keep:
            (self.state_dir / "place.json").unlink(missing_ok=True)
        try:
            self._place = settle(self.state_dir)
        except PlaceTaken as taken:
            raise CloudFailed(str(taken)) from taken
        for name in ("tmp", "state", "s3"):
            if self.is_fresh or name == "tmp":  # tmp holds the unpacked functions of the last run
                shutil.rmtree(self.state_dir / name, ignore_errors=True)
            (self.state_dir / name).mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(ENGINE_PYTHON), str(Path(__file__).with_name("ministack_run.py"))],
                stdin=subprocess.PIPE,  # never written: its end tells the engine that we are gone
                stdout=log,
                stderr=log,
                cwd=self.state_dir,
                env=self._engine_environment(),
                start_new_session=True,
            )
        try:
            self._wait_until_healthy(self._process)
        except BaseException:
            self.stop()
            raise

    def deploy(
        self,
        dist: Path,
        *,
        stage: str = "local",
        parameters: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> dict[str, str]:
        """
        Create or update the stack from the folder *dist*; return its outputs. Sets `api_url`. Raises StackFailed.

        PublicUrl is this cloud's own API unless *parameters* say otherwise.
        """
        self.api_url = f"{self.endpoint_url}/restapis/{self._place.api_id}/{stage}/_user_request_"
        self.outputs = stack.deploy(
            dist,
            stage=stage,
            session=self.session(),
            parameters={**PARAMETERS, "PublicUrl": self.api_url, **(parameters or {})},
            # MiniStack takes the API's id from this tag, so its address is known before it exists.
            tags={"ms-custom-id": self._place.api_id},
            say=say,
        )
        self._close_gaps(stage)
        return self.outputs

    def meet(self, stage: str) -> None:
        """Take up a stage that `python -m infra deploy` made in this cloud. Sets `api_url` and `outputs`."""
        self.outputs = stack.read_outputs(self.session(), stage)
        self.api_url = f"{self.endpoint_url}/restapis/{self.outputs['ApiId']}/{stage}/_user_request_"
        self._close_gaps(stage)

    def _close_gaps(self, stage: str) -> None:
        for function, size in RESERVED.items():  # MiniStack's CloudFormation drops ReservedConcurrentExecutions
            self.session().client("lambda").put_function_concurrency(
                FunctionName=function.name(stage), ReservedConcurrentExecutions=size
            )
        self._allow_batches(stage)

    def _allow_batches(self, stage: str) -> None:
        """
        Let the senders send batches: AWS takes SendMessageBatch for sqs:SendMessage, MiniStack 1.5.33 does not.

        The same holds for DeleteMessageBatch and a worker.
        """
        functions, iam = self.session().client("lambda"), self.session().client("iam")
        for function in RESERVED:
            role = functions.get_function_configuration(FunctionName=function.name(stage))["Role"]
            iam.put_role_policy(
                RoleName=role.rsplit("/", 1)[1],
                PolicyName="MiniStackBatches",
                PolicyDocument=_batches_allowed(),
            )

    def wait_until_saved(self) -> None:
        """Return when all that was done so far is on disk (a kept cloud saves within 2 s). Raises CloudFailed."""
        saved, deadline = self.state_dir / "state" / "saved", time.monotonic() + START_DEADLINE_S
        asked_ns = time.time_ns()
        self._ask_health()  # any call makes the engine save once more
        while not (saved.exists() and saved.stat().st_mtime_ns > asked_ns):
            if not self.keep or time.monotonic() > deadline:
                raise CloudFailed(f"The local cloud in {self.state_dir} does not save its state.")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the engine and its functions as a power cut would."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """Stop the engine, let it save, and end every function process with it. Harmless when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        # The functions, if the engine could not end them itself. macOS says "not permitted" of a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()

    def _engine_environment(self) -> dict[str, str]:
        """Return all that the engine, and with it every function, sees of the world."""
        return {
            **self.env(),
            "PATH": os.defpath,
            "HOME": str(self.state_dir / "tmp"),
            "TMPDIR": str(self.state_dir / "tmp"),
            "LANG": "C.UTF-8",
            "FUNCTIONS_DIR": str(ROOT / ".build" / "functions"),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._place.port),
            "MINISTACK_HOST": "127.0.0.1",
            "AUTH": "true",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1" if self.keep else "0",
            "S3_PERSIST": "1",  # objects on disk rather than in memory, kept or not
            "STATE_DIR": str(self.state_dir / "state"),
            "S3_DATA_DIR": str(self.state_dir / "s3"),
            "LAMBDA_WARM_TTL_SECONDS": "900",
            "LOG_LEVEL": "WARNING",
            "DOCKER_HOST": f"unix://{self.state_dir}/no-docker",
        }

    def _wait_until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                self._ask_health()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise CloudFailed(f"The local cloud did not start; the end of {self.log}:\n{tail}")

    def _ask_health(self) -> None:
        with urllib.request.urlopen(f"{self.endpoint_url}/_ministack/health", timeout=2):
            pass


class _LocalSession(Session):
    """Be a boto3 session with an endpoint: boto3 takes one per client or from the process's environment only."""

    def __init__(self, endpoint_url: str, access_key_id: str, secret_access_key: str) -> None:
        super().__init__(access_key_id, secret_access_key, region_name=REGION)
        self._endpoint_url = endpoint_url

    def client(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["endpoint_url"] = kwargs.get("endpoint_url") or self._endpoint_url  # resource() passes None
        return super().client(*args, **kwargs)


def _batches_allowed() -> str:
    """Write the policy that makes up for what MiniStack asks beyond AWS."""
    allowed = {"Effect": "Allow", "Action": ["sqs:SendMessageBatch", "sqs:DeleteMessageBatch"], "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})

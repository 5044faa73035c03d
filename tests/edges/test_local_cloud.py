"""MiniStack as sandbox/cloud.py runs it: where it listens, what it keeps, when it ends."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.cloud import ROOT, CloudFailed, LocalCloud
from sandbox.waiting import wait_until


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for_silence(port: int, seconds: float = 15) -> bool:
    """Poll until nothing listens on *port*; False when that has not happened in *seconds*."""
    deadline = time.monotonic() + seconds
    while listens(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def port_of(cloud: LocalCloud) -> int:
    return int(cloud.endpoint_url.rsplit(":", 1)[1])


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    """Without keep, a start begins with an empty cloud."""
    with LocalCloud() as cloud:
        cloud.start(tmp_path)
        cloud.session().client("s3").create_bucket(Bucket="left")
        cloud.stop()
        cloud.start(tmp_path)
        assert cloud.session().client("s3").list_buckets()["Buckets"] == []


def test_a_kill_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    """With keep, queues with their messages and files survive SIGKILL, at the same address with the same keys."""
    with LocalCloud() as cloud:
        cloud.start(tmp_path, keep=True)
        before = cloud.env()
        sqs, s3 = cloud.session().client("sqs"), cloud.session().client("s3")
        url = sqs.create_queue(QueueName="kept")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="here")
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="a/b é", Body=b"\0\xff")
        cloud.wait_until_saved()
        cloud.kill()
        cloud.start(tmp_path, keep=True)
        assert cloud.env() == before
        assert [m["Body"] for m in sqs.receive_message(QueueUrl=url)["Messages"]] == ["here"]
        assert s3.get_object(Bucket="kept", Key="a/b é")["Body"].read() == b"\0\xff"


def test_the_cloud_ends_with_its_owner(tmp_path: Path) -> None:
    """When the process that started it is killed, the engine ends by itself."""
    program = (
        "import sys, time, pathlib; from sandbox.cloud import LocalCloud; c = LocalCloud();"
        "c.start(pathlib.Path(sys.argv[1])); print(c.endpoint_url, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline().strip().rsplit(":", 1)[1])
        assert listens(port)
        os.kill(owner.pid, signal.SIGKILL)
    assert wait_for_silence(port)


def test_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    """No port answers on another address than 127.0.0.1, MQTT and SFTP included."""
    with LocalCloud() as cloud:
        cloud.start(tmp_path)
        with urllib.request.urlopen(f"{cloud.endpoint_url}/_ministack/health", timeout=5) as answer:
            assert answer.status == 200
        with socket.socket() as elsewhere:  # 127.0.0.2 is this machine too, and 0.0.0.0 would answer on it
            assert elsewhere.connect_ex(("127.0.0.2", port_of(cloud))) != 0
        assert not listens(8883)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """Identities are checked: a key id that nobody made gets no answer."""
    from boto3.session import Session

    with LocalCloud() as cloud:
        cloud.start(tmp_path)
        stranger = Session("AKIAUNKNOWN", "x", region_name="us-east-1").client("sqs", endpoint_url=cloud.endpoint_url)
        with pytest.raises(stranger.exceptions.ClientError, match="security token"):
            stranger.list_queues()


def test_one_kept_cloud_runs_once(tmp_path: Path) -> None:
    """A second start on the same kept folder is refused with a sentence instead of taking another address."""
    with LocalCloud() as first, LocalCloud() as second:
        first.start(tmp_path, keep=True)
        with pytest.raises(CloudFailed, match="is another one running"):
            second.start(tmp_path, keep=True)
        assert listens(port_of(first))


def _function_code(word: str) -> bytes:
    """Make a function's zip: it says that it runs, waits until it may go on, and answers *word*."""
    lines = [
        "import pathlib, time",
        "def run(event, context):",
        "    here = pathlib.Path(event['folder'])",
        "    (here / 'runs').touch()",
        "    while not (here / 'may end').exists(): time.sleep(0.01)",
        f"    return '{word}'",
    ]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr("app.py", "\n".join(lines))
    return made.getvalue()


def test_a_call_that_runs_when_its_function_is_replaced_ends_in_peace(tmp_path: Path) -> None:
    """As on AWS: the call goes on with the old code, and the next one has the new."""
    with LocalCloud() as cloud, ThreadPoolExecutor() as pool:
        cloud.start(tmp_path / "cloud")
        role = cloud.session().client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        functions = cloud.session().client("lambda")
        functions.create_function(
            FunctionName="slow",
            Runtime="python3.11",
            Role=role,
            Handler="app.run",
            Code={"ZipFile": _function_code("old")},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="slow", WaiterConfig={"Delay": 1})
        asked = {"FunctionName": "slow", "Payload": json.dumps({"folder": str(tmp_path)})}
        running = pool.submit(lambda: functions.invoke(**asked)["Payload"].read())
        assert wait_until((tmp_path / "runs").exists, 20)
        functions.update_function_code(FunctionName="slow", ZipFile=_function_code("new"))
        functions.get_waiter("function_updated_v2").wait(FunctionName="slow", WaiterConfig={"Delay": 1})
        (tmp_path / "may end").touch()
        assert json.loads(running.result(20)) == "old"
        assert json.loads(functions.invoke(**asked)["Payload"].read()) == "new"


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    """A stopped cloud is silent, and stopping it again does nothing."""
    cloud = LocalCloud()
    cloud.start(tmp_path)
    port = port_of(cloud)
    cloud.stop()
    cloud.stop()
    assert not listens(port)

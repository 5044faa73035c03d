"""An EC2 machine that has unpacked its release, with tools that only note what they were told."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra.ec2 import release

ROOT = Path(__file__).resolve().parents[1]

NOTE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
[ ! -e "$WORLD/$(basename "$0")" ] || . "$WORLD/$(basename "$0")"
"""
CURL = """
for last; do :; done
path=${last#*/latest/}
path=${path#meta-data/}
case "$path" in api/token) echo token; exit 0;; esac
[ -f "$WORLD/metadata/$path" ] || exit 22
cat "$WORLD/metadata/$path"
"""
PYTHON = """
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin"
  printf '#!/bin/sh\\necho "venv $*" >> "$CALLS"\\n' > "$3/bin/python"
  chmod +x "$3/bin/python"
fi
"""
GIT = """for last; do :; done; mkdir -p "$last"; touch "$last/main.py" "$last/requirements.txt" """
TOOLS = ("aws", "curl", "nvidia-smi", "git", "apt-get", "mount", "useradd", "id", "chown", "systemctl", "python3")
MORE_TOOLS = ("sleep", "iptables", "shutdown", "sha256sum")
"""`shutdown` above all: the scripts mean it."""


class Machine:
    """Be a machine that has unpacked its release."""

    def __init__(self, folder: Path) -> None:
        self.app = folder / "app"
        for name, path in release.files(ROOT).items():
            (self.app / name).parent.mkdir(parents=True, exist_ok=True)
            (self.app / name).write_bytes(path.read_bytes())
        (self.app / "worker.env").write_text("JOBS_TABLE=comfysheet-prod-jobs\n")
        (self.app / "machine.env").write_text('AWS_DEFAULT_REGION=eu-west-1\nGROUPS_OF_OURS="one one-on-demand"\n')
        self.world, self.tools, self.units = folder / "world", folder / "tools", folder / "units"
        for each in (self.world / "metadata/autoscaling", self.world / "metadata/spot", self.tools, self.units):
            each.mkdir(parents=True)
        for tool in (*TOOLS, *MORE_TOOLS):
            (self.tools / tool).write_text(NOTE)
            (self.tools / tool).chmod(0o755)
        for tool, does in {"curl": CURL, "python3": PYTHON, "git": GIT, "id": "exit 1"}.items():
            self.does(tool, does)
        self.tells("instance-id", "i-0123")
        self.tells("instance-type", "g6.xlarge")
        self.tells("instance-life-cycle", "spot")
        self.tells("autoscaling/target-lifecycle-state", "InService")
        self.calls = folder / "calls"
        self.environment = {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "CALLS": str(self.calls),
            "WORLD": str(self.world),
            "UNITS": str(self.units),
            "STAY": str(folder / "stay"),
            "FAST_DISK": str(folder / "no-fast-disk"),
            "DATA": str(folder / "data"),
            "AWS_DEFAULT_REGION": "eu-west-1",
            "GROUPS_OF_OURS": "one one-on-demand",
            "COMFY_DIR": str(folder / "ComfyUI"),
            "COMFY_VERSION": "v0.28.0",
            "IDLE_END_S": "600",
            "DRAIN_S": "300",
        }

    def does(self, tool: str, script: str) -> None:
        (self.world / tool).write_text(script + "\n")

    def tells(self, path: str, value: str) -> None:
        (self.world / "metadata" / path).write_text(value)

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.app / "infra/ec2" / script)],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def called(self, tool: str) -> list[str]:
        """List what a tool was told."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line.removeprefix(f"{tool} ") for line in lines if line.startswith(f"{tool} ")]

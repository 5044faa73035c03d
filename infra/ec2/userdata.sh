#!/usr/bin/env bash
# Make this machine a worker: run once, as root, by the few lines of user data in workers.yaml that fetched the release.
#
# Every step says what it does in /var/log/comfysheet.log (and in the console's output). When one fails, the machine
# gives itself back: one that does nothing costs as much as one that works. `touch /run/comfysheet-stay` keeps it.
set -euo pipefail

app=$(cd "$(dirname "$0")/../.." && pwd)
units=${UNITS:-/etc/systemd/system}
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
data=${DATA:-/srv/comfysheet}
fast=${FAST_DISK:-/opt/dlami/nvme}

step='beginning'
begin() {
  step=$1
  echo "$(date -u +%FT%TZ) comfysheet: $step"
}

# At any end but a good one: ERR would not see an unset name.
ended() {
  local code=$?
  [ "$code" -ne 0 ] || return 0
  echo "$(date -u +%FT%TZ) comfysheet: FAILED at: $step" >&2
  bash "$app/infra/ec2/leave.sh" || true
  exit 1
}
trap ended EXIT

about() { curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/$1"; }

begin "asking which machine this is"
token=$(curl -sf -m 5 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 21600" "$metadata/latest/api/token")
instance=$(about instance-id)
kind=$(about instance-type)
echo "comfysheet: $instance, $kind, $(about instance-life-cycle)"
printf 'AWS_DEFAULT_REGION=%s\nGROUPS_OF_OURS="%s"\n' "$AWS_DEFAULT_REGION" "$GROUPS_OF_OURS" >"$app/machine.env"

begin "looking for GPUs"
nvidia-smi -L

if [ -n "${SNAPSHOT:-}" ]; then
  begin "mounting the disk made from $SNAPSHOT"
  mkdir -p "$data"
  mount LABEL=comfysheet "$data"
fi

if [ ! -f "$COMFY_DIR/main.py" ]; then
  begin "installing ComfyUI $COMFY_VERSION into $COMFY_DIR (an image or a disk that has it starts minutes sooner)"
  git clone --quiet --depth 1 --branch "$COMFY_VERSION" https://github.com/comfyanonymous/ComfyUI "$COMFY_DIR"
fi

begin "looking for Python 3.11 or newer"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  begin "installing python3-venv"
  apt-get -q update
  DEBIAN_FRONTEND=noninteractive apt-get -q -y install python3-venv
fi
if [ ! -x "$COMFY_DIR/venv/bin/python" ] && [ ! -x "$COMFY_DIR/.venv/bin/python" ]; then
  begin "installing what ComfyUI needs"
  python3 -m venv "$COMFY_DIR/venv"
  "$COMFY_DIR/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$COMFY_DIR/requirements.txt"
fi

if [ -n "${MODELS:-}" ]; then
  begin "copying models from $MODELS"
  aws s3 sync --only-show-errors "$MODELS" "$COMFY_DIR/models/"
fi

begin "installing the worker"
python3 -m venv "$app/.venv-worker"
"$app/.venv-worker/bin/python" -m pip install --quiet --disable-pip-version-check -r "$app/worker/requirements.txt"

begin "making two users: the worker, and ComfyUI, which never meets its credentials"
id comfysheet >/dev/null 2>&1 || useradd --system --user-group --create-home --shell /usr/sbin/nologin comfysheet
id comfyui >/dev/null 2>&1 || useradd --system --gid comfysheet --create-home --shell /usr/sbin/nologin comfyui
bash "$app/infra/ec2/fence.sh"
python=$COMFY_DIR/venv/bin/python
if [ ! -x "$python" ]; then python=$COMFY_DIR/.venv/bin/python; fi
sed -e "s|@PYTHON@|$python|g" "$app/infra/ec2/comfy-python" >"$app/comfy-python"
chmod 755 "$app/comfy-python"
chown -R comfyui:comfysheet "$COMFY_DIR"

begin "writing its settings"
home=$app/cache
if [ -d "$fast" ]; then home=$fast/comfysheet; fi
mkdir -p "$home"
umask 077
{
  cat "$app/worker.env"
  echo "WORKER_NAME=$instance"
  echo "WORKER_HOME=$home"
  echo "COMFY_DIR=$COMFY_DIR"
  echo "COMFY_PYTHON=$app/comfy-python"
  echo "GPUS=all"
  echo "IDLE_END_S=$IDLE_END_S"
  echo "DRAIN_S=$DRAIN_S"
  # Given last, so it wins: systemd takes the last of several equal names.
  for setting in ${WORKER_SETTINGS:-}; do echo "$setting"; done
} >"$app/.env"
umask 022

chown -R comfysheet: "$home"

begin "starting the service"
for unit in comfysheet-leave.service comfysheet-worker.service; do
  sed -e "s|@DIR@|$app|g" "$app/infra/ec2/$unit" >"$units/$unit"
done
systemctl daemon-reload
systemctl enable --now comfysheet-worker
begin "this machine is a worker: journalctl -u comfysheet-worker -f"

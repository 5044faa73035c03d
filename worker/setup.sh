#!/usr/bin/env bash
# Set up a worker on a RunPod pod or a bare Linux box, in this clone. Safe to run again.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: bash worker/setup.sh [--python PYTHON] [--service] [--no-install] [--no-doctor]

Makes .venv-worker with what the worker needs, writes .env from worker/.env.example if there is none, and looks at
everything with `python -m worker doctor`.

  --python PYTHON  the Python to use (python3; 3.11 or newer)
  --service        also install and start the systemd unit (needs root)
  --no-install     do not install packages
  --no-doctor      do not look at anything
TEXT
}

python=python3 service=no install=yes doctor=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --python) [ $# -gt 1 ] || { usage >&2; exit 2; }; python=$2; shift ;;
    --service) service=yes ;;
    --no-install) install=no ;;
    --no-doctor) doctor=no ;;
    -h | --help) usage; exit 0 ;;
    *) echo "There is no option $1." >&2; usage >&2; exit 2 ;;
  esac
  shift
done

cd "$(dirname "$0")/.."
dir=$PWD

if ! command -v "$python" >/dev/null; then
  echo "$python is not installed. Try: apt-get install python3 python3-venv, or name another with --python." >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "The worker needs Python 3.11 or newer; $("$python" --version) is older. Name another with --python." >&2
  exit 1
fi

if [ "$install" = yes ]; then
  if [ ! -x .venv-worker/bin/python ]; then
    echo "making .venv-worker …"
    "$python" -m venv .venv-worker || { echo "venv is missing. Try: apt-get install python3-venv" >&2; exit 1; }
  fi
  echo "installing what the worker needs …"
  .venv-worker/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r worker/requirements.txt
fi

if [ ! -e .env ]; then
  (umask 077 && cp worker/.env.example .env)
  echo "wrote $dir/.env: fill it in, then run this again."
fi
chmod 600 .env

if [ "$service" = yes ]; then
  if [ "$(id -u)" != 0 ] || ! command -v systemctl >/dev/null; then
    echo "--service needs root and systemd. On a pod start the worker from its start script instead." >&2
    exit 1
  fi
  owner=$(stat -c %U .)
  sed -e "s|@DIR@|$dir|g" -e "s|@USER@|$owner|g" worker/comfysheet-worker.service \
    >/etc/systemd/system/comfysheet-worker.service
  systemctl daemon-reload
  systemctl enable --now comfysheet-worker
  echo "the service comfysheet-worker runs: journalctl -u comfysheet-worker -f"
fi

if [ "$doctor" = yes ] && [ -x .venv-worker/bin/python ]; then
  set -a
  # shellcheck disable=SC1091
  . ./.env
  set +a
  .venv-worker/bin/python -m worker doctor || {
    echo "Mend what is wrong above, then start: set -a; . ./.env; .venv-worker/bin/python -m worker queue" >&2
    exit 1
  }
fi
echo "start it with: set -a; . ./.env; set +a; .venv-worker/bin/python -m worker queue"

#!/usr/bin/env bash
# Start the worker in a pod: models from the volume, two accounts, and then the worker in this script's place.
set -euo pipefail

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<'TEXT'
usage: start.sh [queue|once|doctor|…]

Links the models and custom nodes of the network volume (VOLUME_DIR, /workspace) into ComfyUI's folder /comfy, calls the
worker by the pod's id, and becomes `python -m worker queue`. Settings come from the environment: docs/worker.md.
TEXT
  exit 0
fi

say() { echo "start.sh: $*" >&2; }

# A reference that RunPod did not replace would go to AWS as a key.
for name in $(compgen -e); do
  case "${!name}" in
    *"{{ RUNPOD_SECRET_"*)
      say "RunPod has no secret for $name (${!name}). Create it in the console, or: python -m infra runpod secrets"
      exit 2
      ;;
  esac
done

volume=${VOLUME_DIR:-/workspace}
base=/comfy
mkdir -p "$base"
for folder in input output temp user custom_nodes; do
  mkdir -p "$base/$folder"
done
if [ -d "$volume/models" ]; then
  # An empty folder of an earlier start, before the volume was filled: a link would be made inside it.
  [ -L "$base/models" ] || rmdir "$base/models" 2>/dev/null || true
  ln -sfn "$volume/models" "$base/models"
  say "models from $volume/models: $(find -L "$volume/models" -type f | wc -l) files"
else
  mkdir -p "$base/models"
  say "there is no $volume/models: only workflows that need no model file can be rendered here"
fi
if [ -d "$volume/custom_nodes" ]; then
  for node in "$volume"/custom_nodes/*/; do
    [ -d "$node" ] && ln -sfn "${node%/}" "$base/custom_nodes/$(basename "$node")"
  done
fi

export WORKER_NAME=${WORKER_NAME:-${RUNPOD_POD_ID:-$(hostname)}}
[ $# -gt 0 ] || set -- queue

if [ "$(id -u)" != 0 ]; then
  say "not root: ComfyUI runs under the worker's own account"
  export COMFY_PYTHON=/opt/comfy-venv/bin/python
  exec python -m worker "$@"
fi

# Group shop, set for what is made in them: the worker removes what ComfyUI wrote.
chown comfy:shop "$base" "$base"/{input,output,temp,user}
chmod 2775 "$base" "$base"/{input,output,temp,user}
export WORKER_HOME=${WORKER_HOME:-/home/worker/cache}
mkdir -p "$WORKER_HOME"
chown -R worker:shop "$WORKER_HOME"
export HOME=/home/worker USER=worker LOGNAME=worker
as_worker=(setpriv --reuid=worker --regid=shop --clear-groups --no-new-privs)
# To start ComfyUI as somebody else, and to end it, the worker keeps these three of root's rights.
kept="-all,+setuid,+setgid,+kill"
rights=("--inh-caps=$kept" "--ambient-caps=$kept")
if "${as_worker[@]}" "${rights[@]}" -- "$COMFY_PYTHON" -c '' 2>/dev/null; then
  as_worker+=("${rights[@]}")
else
  say "this host lets nobody change accounts: ComfyUI runs under the worker's own"
  chown worker:shop "$base" "$base"/{input,output,temp,user}
  export COMFY_PYTHON=/opt/comfy-venv/bin/python
fi
exec "${as_worker[@]}" -- python -m worker "$@"

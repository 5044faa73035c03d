#!/usr/bin/env bash
# Give this machine back when its worker has ended for good. Run by systemd after each end of the worker (ExecStopPost,
# which tells EXIT_CODE and EXIT_STATUS). Without EXIT_CODE nothing will start a worker here again: userdata.sh runs it so
# when a step failed, and comfysheet-leave.service when the worker crashed too often or its settings are wrong.
#
# - The group ends the machine already: say that it need not wait any longer.
# - A spot notice came: EC2 takes the machine, and the group orders another one. Nothing to do.
# - The worker crashed: systemd starts it again, or comfysheet-leave.service is next. Nothing to do.
# - It ended by itself (no job for IDLE_END_S), or will not be started again: the machine goes, and the group gets smaller
#   by one, so that no other is started in its place.
# - It will not be started again, and the group does not take the machine back: it is shut down, which EC2 takes for its
#   end (InstanceInitiatedShutdownBehavior). The group then orders another: dearer than none, cheaper than one for ever.
set -uo pipefail

app=$(cd "$(dirname "$0")/../.." && pwd)
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
stay=${STAY:-/run/comfysheet-stay}
# shellcheck disable=SC1091
[ ! -f "$app/machine.env" ] || . "$app/machine.env"
export AWS_DEFAULT_REGION

say() { echo "$(date -u +%FT%TZ) comfysheet: $*"; }
about() { curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/$1"; }

# Whichever group the machine is of: the others say that they do not know it.
complete() {
  local group
  for group in $GROUPS_OF_OURS; do
    aws autoscaling complete-lifecycle-action --lifecycle-hook-name drain --auto-scaling-group-name "$group" \
      --instance-id "$instance" --lifecycle-action-result CONTINUE >/dev/null 2>&1 && return 0
  done
  return 1
}

# The last way out, and the end of this script.
shut_down() {
  if [ -z "${EXIT_CODE:-}" ] && [ ! -e "$stay" ]; then
    say "$1: shutting this machine down"
    shutdown -h now
  fi
  exit 0
}

token=$(curl -sf -m 5 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 300" "$metadata/latest/api/token") ||
  shut_down "nobody says which machine this is"
instance=$(about instance-id) || shut_down "nobody says which machine this is"

if [ "$(about autoscaling/target-lifecycle-state || true)" = Terminated ]; then
  say "the group ends this machine; it need not wait any longer"
  complete || say "the group was not told, and waits until its hook's time is over"
  exit 0
fi
if about spot/instance-action >/dev/null; then
  say "EC2 takes this machine away"
  exit 0
fi
if [ -n "${EXIT_CODE:-}" ]; then
  [ "$EXIT_CODE:${EXIT_STATUS:-}" = exited:0 ] || exit 0
fi
if [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then
  exit 0
fi
if [ -e "$stay" ]; then
  say "$stay is there: the machine stays, and costs"
  exit 0
fi

say "nothing more to do here: giving $instance back"
if ! aws autoscaling terminate-instance-in-auto-scaling-group --instance-id "$instance" \
  --should-decrement-desired-capacity >/dev/null; then
  [ -n "${EXIT_CODE:-}" ] || shut_down "the group does not take it back"
  say "the group keeps it (its least size?): the worker goes on"
  systemctl start --no-block comfysheet-worker
  exit 0
fi
# The group's hook would hold the machine for DRAIN_S; it waits for nothing. Its state needs a moment to change.
for _ in 1 2 3 4 5; do
  complete && exit 0
  sleep "${PAUSE_S:-2}"
done
exit 0

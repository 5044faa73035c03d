#!/usr/bin/env bash
# Keep ComfyUI from the machine's credentials: custom nodes are anybody's code, and whoever reaches the metadata service
# is this machine to AWS. Run as root before each start of the worker; it does not start without.
set -euo pipefail
rule=(OUTPUT --destination 169.254.169.254 --match owner --uid-owner comfyui --jump REJECT)
iptables --wait --check "${rule[@]}" 2>/dev/null || iptables --wait --insert "${rule[@]}"

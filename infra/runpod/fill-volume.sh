#!/usr/bin/env bash
# Put model files on a network volume, each checked by its sha256. Safe to run again: what is there and right stays.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: fill-volume.sh LIST [--to DIR]

Each line of LIST: sha256, path below models/, https address; lines with # in front are left out. For example

  <64 hex digits>  checkpoints/sd_xl_base_1.0.safetensors  https://…/sd_xl_base_1.0.safetensors

Files go to DIR/models (DIR: VOLUME_DIR, else /workspace). Only .safetensors, .sft and .gguf are taken: other kinds can run code
when they are loaded. Exit code 1: a file could not be had or is not what its sha256 says.
TEXT
}

say() { echo "fill-volume.sh: $*" >&2; }

is_right() { [ -f "$2" ] && echo "$1  $2" | sha256sum --status -c -; }

list='' to=${VOLUME_DIR:-/workspace}
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --to) [ $# -gt 1 ] || { usage >&2; exit 2; }; to=$2; shift ;;
    -*) say "there is no option $1"; usage >&2; exit 2 ;;
    *) list=$1 ;;
  esac
  shift
done
[ -f "$list" ] || { say "name the list of files"; usage >&2; exit 2; }
[ -d "$to" ] || { say "there is no folder $to: is the volume mounted?"; exit 1; }

bad=0
while read -r sum path url rest; do
  case "$sum" in '' | '#'*) continue ;; esac
  if ! [[ $sum =~ ^[0-9a-f]{64}$ ]] || [ -z "$url" ] || [ -n "$rest" ]; then
    say "this line is not \"sha256 path address\": $sum $path $url $rest"; bad=1; continue
  fi
  case "$path" in
    /* | *..*) say "$path leads out of models/"; bad=1; continue ;;
    *.safetensors | *.sft | *.gguf) ;;
    *) say "$path is no .safetensors, .sft or .gguf"; bad=1; continue ;;
  esac
  target=$to/models/$path
  if is_right "$sum" "$target"; then
    say "$path is there"; continue
  fi
  mkdir -p "$(dirname "$target")"
  # Files of gigabytes: what has come stays in .part and is gone on with.
  if ! is_right "$sum" "$target.part" && ! curl --fail --location --silent --show-error --proto '=https,file' --proto-redir '=https' \
    --retry 3 --continue-at - --output "$target.part" "$url"; then
    say "$path could not be fetched"; bad=1; continue
  fi
  if is_right "$sum" "$target.part"; then
    mv "$target.part" "$target"
    say "$path fetched"
  else
    rm -f "$target.part"
    say "$path is not what its sha256 says: removed"; bad=1
  fi
done <"$list"
exit "$bad"

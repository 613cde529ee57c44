#!/usr/bin/env bash
# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
#
# What a machine with an accelerator is asked in under ten minutes: whether it
# computes what a CPU does, then how fast, the most telling figures first.
#
#   bash benchmarks/device.sh [--small] [--platform cpu|gpu|tpu] [FOLDER]
#
# It expects a checkout, and a Python (PYTHON, else python) that has jaxad's
# dependencies and JAX for the device, `pip install '.[cuda12]'`; PyTorch for the
# device where there is to be a comparison. TensorFlow is not imported, nothing
# is installed, and no network is used. Everything lands in FOLDER (else OUT,
# else ./device) as it comes: log.txt, and a JSON file for each part. LIMIT is
# the seconds for all (560), and each part has a limit of its own. What gives no
# answer within 100, while it compiles or in a run, is given up; its time may be
# missing at the end. ONLY="checks large" runs these parts alone; --small is a
# try on any machine.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python} limit=${LIMIT:-560} folder=${OUT:-device}
small=() platform=()
while (($#)); do
  case $1 in
    --small) small=(--small) ;;
    --platform) platform=(--platform "$2") && shift ;;
    -*) echo "device.sh: unknown option $1" >&2 && exit 2 ;;
    *) folder=$1 ;;
  esac
  shift
done
mkdir -p "$folder" && exec > >(tee "$folder/log.txt") 2>&1
# Of this checkout, whatever lies in the caller's folder.
export PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
failed=0

# piece NAME SECONDS MODULE ARGUMENTS...: within that time, and what is left.
piece() {
  local name=$1 seconds=$2 left=$((limit - SECONDS))
  shift 2
  [[ " ${ONLY:-$name} " == *" $name "* ]] || return 0
  ((left < seconds)) && seconds=$left
  if ((seconds < 5)); then
    echo "left out, no time: $*"
    failed=1
    return
  fi
  echo "== $* (at ${SECONDS} s, for at most $seconds s)"
  timeout -k 5 "$seconds" "$python" -m "$@" "${platform[@]}"
  local code=$?
  ((code)) && failed=1 && echo "== exit code $code of: $*"
  return "$code"
}

# figures NAME SECONDS ARGUMENTS...
figures() {
  local name=$1 seconds=$2
  shift 2
  piece "$name" "$seconds" benchmarks.run --repeats 5 --limit 100 "${small[@]}" \
    --json "$folder/$name.json" "$@"
}

piece checks 120 benchmarks.check_device --limit 60
(($? == 3)) && exit 3 # no accelerator
figures large 220 -w differnet/train,differnet/score,dra/train,dra/score
figures gans 200 -w \
  ganomaly/train,ocgan/train,skip_ganomaly/train,fanogan/train,alad/train
figures bfloat16 120 --bfloat16 -w differnet/train,differnet/score,dra/train
figures compiled 200 --baseline compiled -w \
  differnet/train,dra/train,ganomaly/train,ocgan/train
figures rest 200 -w \
  devnet/train,anogan/score,ganomaly/score,ocgan/score,differnet/flow
echo "== done after ${SECONDS} s"
exit "$failed"

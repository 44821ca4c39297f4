#!/bin/bash
# Trains on several hosts over ssh, with the arguments of `ssd-keras train`:
#
#   bash training/launch/hosts.sh "host0 host1" --recipe own_data --train-data voc:DATA@train \
#        --validation-data voc:DATA@val --output RUN
#
# The hosts have `ssd-keras` in the path of ssh, reach host0 at $PORT (default 7890), and see DATA
# and RUN, whose paths are absolute.

read -ra hosts <<<"$1"
shift
for try in {1..20}; do
    processes=()
    for index in "${!hosts[@]}"; do
        words=(env KERAS_BACKEND=jax ssd-keras train "$@" --resume
            --coordinator "${hosts[0]}:${PORT:-7890}"
            --num-processes "${#hosts[@]}" --process-index "$index")
        ssh "${hosts[index]}" "$(printf '%q ' "${words[@]}")" &
        processes+=($!)
    done
    result=0
    for process in "${processes[@]}"; do
        wait "$process"
        status=$?
        # 75, a process was lost or had notice, counts least: another status does not mend itself.
        if [ "$status" -ne 0 ] && { [ "$result" -eq 0 ] || [ "$result" -eq 75 ]; }; then
            result=$status
        fi
    done
    [ "$result" -eq 75 ] || break
    echo "hosts.sh: starting all of them again, try $((try + 1)) of 20" >&2
done
exit "$result"

#!/bin/sh
# The replicas live in this container, and serve on when the control plane dies; so it is started again here, and the container stays.
# Ends with the control plane's own exit code when it is asked to stop, or says that its settings are wrong (2).
set -u
stopping=""
child=""
# shellcheck disable=SC2329  # called by the trap
stop() {
    stopping=yes
    [ -z "$child" ] || kill -TERM "$child"
}
trap stop TERM INT
while :; do
    # -P: nothing that lies in the working directory is imported in place of ours
    python -P -m controlplane.main &
    child=$!
    wait "$child"
    code=$?
    # a signal interrupts `wait` before the control plane has ended
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    if [ -n "$stopping" ] || [ "$code" = 2 ]; then
        exit "$code"
    fi
    echo "the control plane ended with code $code; it is started again" >&2
    sleep 1
done

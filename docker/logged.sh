#!/bin/bash
# Runs a command and keeps what it prints twice: as the container's own output, for `docker compose logs`, and in files that the collector reads.
#   logged.sh FILE-FOR-STDOUT FILE-FOR-STDERR COMMAND...    (may be the same file)
# A file that is full becomes FILE.1. Ends with the command's own exit code, once all that it said is written down.
set -u
folder=${LOGS_DIR:-/var/lib/slipway/logs}
limit_bytes=${LOGS_BYTES:-20000000}

# Without a place to write, a log is still the container's output, and nobody is held up: `cat` takes over from an awk that gave up.
keep() { # name
    local file=$folder/$1
    trap '' TERM INT # it ends with its input
    awk -W interactive -v file="$file" -v limit="$limit_bytes" -v size="$(stat -c %s "$file" 2>/dev/null || echo 0)" '
        {
            print
            print >>file
            fflush(file)
            size += length($0) + 1
            if (size >= limit) {
                close(file)
                system("mv -f \"" file "\" \"" file ".1\"")
                size = 0
            }
        }' || cat
}

out=$1 err=$2
shift 2
exec 3> >(keep "$out")
keepers=$!
if [ "$err" = "$out" ]; then
    exec 4>&3
else
    exec 4> >(keep "$err" >&2)
    keepers="$keepers $!"
fi
"$@" >&3 2>&4 3>&- 4>&- &
child=$!
exec 3>&- 4>&-

trap 'kill -TERM "$child" 2>/dev/null' TERM INT
wait "$child"
code=$?
# a signal interrupts `wait` before the command has ended
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
done
# shellcheck disable=SC2086  # one or two of them
wait $keepers
exit "$code"

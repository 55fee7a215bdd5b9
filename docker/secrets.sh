#!/bin/sh
# Makes the secrets that nobody has to know: what Alertmanager and the control plane share, and Grafana's first password. What is given
# in .env is taken instead. Each lies in a volume that only those who need it can see, so its mode may let their different users read it.
set -eu
keep() { # file, value given
    [ -n "$2" ] || [ ! -s "$1" ] || return 0
    # whole or not at all; the old one cannot be written, only replaced
    if [ -n "$2" ]; then printf '%s' "$2"; else python -c 'import secrets; print(secrets.token_urlsafe(32), end="")'; fi >"$1.new"
    chmod 0444 "$1.new"
    mv -f "$1.new" "$1"
}
keep /run/slipway/alert/token "${SLIPWAY_ALERT_TOKEN:-}"
keep /run/slipway/grafana/password "${GRAFANA_PASSWORD:-}"

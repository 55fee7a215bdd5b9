#!/bin/sh
# Makes the secrets that nobody has to know: what Alertmanager and the control plane share, and Grafana's first password. What is given
# in .env is taken instead. Each lies in a volume that only those who need it can see, so its mode may let their different users read it.
set -eu
keep() { # file, value given
    if [ -n "$2" ]; then
        printf '%s' "$2" >"$1"
    elif [ ! -s "$1" ]; then
        python -c 'import secrets; print(secrets.token_urlsafe(32), end="")' >"$1"
    fi
    chmod 0444 "$1"
}
keep /run/slipway/alert/token "${SLIPWAY_ALERT_TOKEN:-}"
keep /run/slipway/grafana/password "${GRAFANA_PASSWORD:-}"

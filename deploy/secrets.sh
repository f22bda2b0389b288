#!/bin/sh
# Makes what docker-compose.yml mounts as secrets, in deploy/secrets; what is there it leaves alone.
#
#   deploy/secrets.sh https://hooks.example.org/…     # where alerts go: an incoming webhook of Slack's kind
#
# Containers have other users than this machine, so the files can be read by all, and the folder only by you.
set -eu
if [ $# -ne 1 ]; then
    echo "usage: deploy/secrets.sh WEBHOOK-ADDRESS, where alerts go: an incoming webhook of Slack's kind" >&2
    exit 2
fi
webhook=$1
mkdir -p -m 0700 "$(dirname "$0")/secrets"
cd "$(dirname "$0")/secrets"

random() { od -A n -N 24 -t x1 /dev/urandom | tr -d ' \n'; }
keep() { [ -e "$1" ] || { cat > "$1"; chmod 0444 "$1"; }; }

echo "$webhook" | keep alert-webhook
for name in dashboard-token filter-token grafana-password mlflow-session-key postgres-password; do
    random | keep "$name"
done

if [ ! -e mlflow-auth.ini ]; then
    password=$(random)
    keep mlflow-credentials <<INI
[mlflow]
mlflow_tracking_username = winnow
mlflow_tracking_password = $password
INI
    keep mlflow-auth.ini <<INI
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:////mlflow/users.db
admin_username = winnow
admin_password = $password
# workers ask each second, and to check a password takes a tenth of one
auth_cache_ttl_seconds = 60
INI
fi

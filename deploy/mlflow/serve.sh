#!/bin/sh
# MLflow's server, with accounts: MLFLOW_AUTH_CONFIG_PATH names the file of the first one.
set -eu
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat /run/secrets/mlflow-session-key)
export MLFLOW_FLASK_SERVER_SECRET_KEY
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 --workers 2 \
    --allowed-hosts registry:5000,127.0.0.1:5000,localhost:5000 \
    --backend-store-uri sqlite:////mlflow/registry.db --artifacts-destination /mlflow/files "$@"

"""/metrics, /healthz and /readyz."""

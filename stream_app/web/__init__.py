"""Layer 4: /metrics, /healthz and /readyz."""

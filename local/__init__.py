"""The laptop cloud: serves `template.yaml` over HTTP on the loopback. Never deployed."""

"""What people type: `customers token create`, and so on, against the laptop or a deployed stack."""

"""The domain of the control plane: rules only. Standard library, no I/O; time and randomness are passed in."""

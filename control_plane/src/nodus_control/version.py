"""The version of the control plane, in its one place."""

VERSION = "0.1.0"

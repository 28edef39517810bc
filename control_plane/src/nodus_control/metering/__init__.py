"""Metering into Stripe: one account, the exporter that empties the queue of meter events, and what comes back."""

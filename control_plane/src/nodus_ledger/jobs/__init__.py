"""Jobs: submission, claims, settlement, capacity, history and metering."""

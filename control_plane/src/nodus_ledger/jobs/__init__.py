"""Jobs: submission, leases, settlement, capacity, history and metering."""

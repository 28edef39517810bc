"""The driver whose suppliers, jobs and prices are simulated."""

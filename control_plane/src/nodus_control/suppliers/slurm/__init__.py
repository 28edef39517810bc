"""The driver that gives jobs to a Slurm cluster, by its command line."""

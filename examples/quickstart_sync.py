"""Submit a job, wait for it, print what became of it. Reads NODUS_API_KEY and, if it is set, NODUS_BASE_URL."""

from __future__ import annotations

import nodus


def main() -> None:
    """Run one job to its end."""
    with nodus.Client() as client:
        job = client.run(
            image="ghcr.io/acme/train:v3",
            command=["python", "train.py", "--epochs", "10"],
            gpu="h100_80gb",
            max_runtime_seconds=3600,
        )
        job.wait(timeout_seconds=2 * 3600)
        print(job.status, job.supplier, job.cost_usd)


if __name__ == "__main__":
    main()

"""Submit three jobs at once and print each as it ends, on asyncio; `trio.run(main)` does the same on trio."""

from __future__ import annotations

import asyncio

import nodus


async def main() -> None:
    """Run three jobs to their end."""
    async with nodus.AsyncClient() as client:
        jobs = [
            await client.run(
                image="ghcr.io/acme/train:v3",
                command=["python", "train.py", "--seed", str(seed)],
                gpu=nodus.GpuType.H100_80GB,
                max_runtime_seconds=3600,
            )
            for seed in range(3)
        ]
        async for job in client.as_completed(jobs, timeout_seconds=2 * 3600):
            print(job.id, job.status, job.supplier, job.cost_usd)


if __name__ == "__main__":
    asyncio.run(main())

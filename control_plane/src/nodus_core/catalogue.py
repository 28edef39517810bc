"""The suppliers and their offers: which GPU, where, at what price."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from .money import micros_from_usd

SIMULATED = "simulated"
"""The driver of suppliers that run nothing."""


class GpuType(str, enum.Enum):
    """The GPUs that a spec can ask for."""

    H100_80GB = "h100_80gb"
    A100_80GB = "a100_80gb"
    A100_40GB = "a100_40gb"
    L40S = "l40s"
    A10G = "a10g"


class SupplierKind(str, enum.Enum):
    """The classes of suppliers that `require_tiers` filters by."""

    HYPERSCALER = "hyperscaler"
    TIER3 = "tier3"
    NEOCLOUD = "neocloud"


@dataclass(frozen=True, slots=True)
class Supplier:
    """A supplier, and how it behaves when it is simulated.

    `driver` is what runs its jobs. `gpus` is how many GPUs of each model it has; None where it says by itself when it
    has no more. `retry_after_loss` is how often a place that lost a job is tried again, once no other is left.
    `provisioning_seconds` is the shortest and the longest time from placement to running, `capacity_refusal_rate` the
    fraction of placements that it refuses, and `loss_per_hour` the rate at which it loses running jobs.
    """

    name: str
    kind: SupplierKind
    regions: tuple[str, ...]
    provisioning_seconds: tuple[float, float]
    capacity_refusal_rate: float
    loss_per_hour: float
    micros_per_gpu_hour: Mapping[str, int]
    driver: str = SIMULATED
    gpus: Mapping[str, int] | None = None
    retry_after_loss: int = 0

    @property
    def is_simulated(self) -> bool:
        """Whether nothing really runs here."""
        return self.driver == SIMULATED


@dataclass(frozen=True, slots=True)
class Offer:
    """One GPU model at one supplier in one region, for micro-USD per GPU-hour.

    `gpus` is how many the supplier has of it; None where that is not said.
    """

    supplier: str
    kind: SupplierKind
    region: str
    gpu: str
    micros_per_gpu_hour: int
    gpus: int | None = None

    @property
    def location(self) -> tuple[str, str]:
        """Supplier and region: what a failover excludes."""
        return (self.supplier, self.region)


class Catalogue:
    """All suppliers, and their offers by GPU in a fixed order."""

    def __init__(self, suppliers: Iterable[Supplier]) -> None:
        self.suppliers: Mapping[str, Supplier] = {supplier.name: supplier for supplier in suppliers}
        self._offers: dict[str, tuple[Offer, ...]] = {
            gpu.value: tuple(
                Offer(
                    supplier.name,
                    supplier.kind,
                    region,
                    gpu.value,
                    supplier.micros_per_gpu_hour[gpu.value],
                    None if supplier.gpus is None else supplier.gpus.get(gpu.value, 0),
                )
                for supplier in self.suppliers.values()
                if gpu.value in supplier.micros_per_gpu_hour
                for region in supplier.regions
            )
            for gpu in GpuType
        }

    def offers(self, gpu: str) -> tuple[Offer, ...]:
        """Return every offer of a GPU model, an empty tuple for a model that nobody has."""
        return self._offers.get(gpu, ())

    def retail_micros_per_gpu_hour(self, gpu: str) -> int | None:
        """Return the retail price: the cheapest hyperscaler's. None where no hyperscaler has this GPU."""
        prices = [offer.micros_per_gpu_hour for offer in self.offers(gpu) if offer.kind is SupplierKind.HYPERSCALER]
        return min(prices, default=None)


@lru_cache(maxsize=1)
def default_catalogue() -> Catalogue:
    """Return the ten suppliers that come with the package."""
    text = resources.files("nodus_core").joinpath("data").joinpath("suppliers.json").read_text(encoding="utf-8")
    return Catalogue(_supplier(entry) for entry in json.loads(text)["suppliers"])


def _supplier(entry: dict[str, Any]) -> Supplier:
    shortest, longest = entry["provisioning_seconds"]
    return Supplier(
        name=entry["name"],
        kind=SupplierKind(entry["kind"]),
        regions=tuple(entry["regions"]),
        provisioning_seconds=(shortest, longest),
        capacity_refusal_rate=entry["capacity_refusal_rate"],
        loss_per_hour=entry["loss_per_hour"],
        micros_per_gpu_hour={
            gpu: micros_from_usd(price["price"]) for gpu, price in entry["usd_per_gpu_hour"].items() if price
        },
    )

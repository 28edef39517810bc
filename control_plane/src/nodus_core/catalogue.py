"""The suppliers and their offers: which GPU, where, at what price."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from .canonical_json import canonical_json
from .suppliers_file import SupplierEntry, SupplierKind, SuppliersFile
from .suppliers_reading import read_suppliers

SHIPPED_FILE = "suppliers.toml"
"""The ten mock suppliers, which come with the package."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One GPU model at one supplier in one region, for micro-USD per GPU-hour.

    `gpus` is how many the supplier has of it, free or not; None where nobody counts them. `simulated`: nothing runs.
    """

    supplier: str
    kind: SupplierKind
    region: str
    gpu: str
    micros_per_gpu_hour: int
    gpus: int | None = None
    simulated: bool = False

    @property
    def location(self) -> tuple[str, str]:
        """Supplier and region: what a failover excludes."""
        return (self.supplier, self.region)


class Catalogue:
    """All suppliers, and their offers by GPU in a fixed order.

    Attributes:
        suppliers: the entries of the file, by name.
        gpus: the models that somebody offers, in the order of their names.
        has_simulated: whether there are suppliers that run nothing, whose offers are for simulated jobs alone.
        has_real: whether there are others, whose offers are for all other jobs.
        sha256: what processes that work together must agree on: name, kind, regions, driver, GPUs and prices of each
            supplier, and the retail prices. Not the drivers' own sections, which may differ by host.
    """

    def __init__(self, file: SuppliersFile) -> None:
        self.suppliers: Mapping[str, SupplierEntry] = {entry.name: entry for entry in file.suppliers}
        self.gpus = tuple(sorted({gpu for entry in file.suppliers for gpu in entry.micros_per_gpu_hour}))
        self.has_simulated = any(entry.is_simulated for entry in file.suppliers)
        self.has_real = not all(entry.is_simulated for entry in file.suppliers)
        self.sha256 = hashlib.sha256(canonical_json(_agreed(file)).encode()).hexdigest()
        self._retail = file.retail
        self._offers: dict[str, tuple[Offer, ...]] = {
            gpu: tuple(
                Offer(
                    entry.name,
                    entry.kind,
                    region,
                    gpu,
                    entry.micros_per_gpu_hour[gpu],
                    None if entry.gpus is None else entry.gpus[gpu],
                    entry.is_simulated,
                )
                for entry in file.suppliers
                if gpu in entry.micros_per_gpu_hour
                for region in entry.regions
            )
            for gpu in self.gpus
        }
        self._offers_for = {kind: _of_kind(self._offers, simulated=kind) for kind in (True, False)}

    def offers(self, gpu: str) -> tuple[Offer, ...]:
        """Return every offer of a GPU model, an empty tuple for a model that nobody has."""
        return self._offers.get(gpu, ())

    def offers_for(self, gpu: str, *, simulated: bool) -> tuple[Offer, ...]:
        """Return the offers of a GPU model to simulated jobs, or to all others: neither kind sees the other's."""
        return self._offers_for[simulated].get(gpu, ())

    def gpus_for(self, *, simulated: bool) -> tuple[str, ...]:
        """Return the models that are offered to simulated jobs, or to all others, in the order of their names."""
        return tuple(self._offers_for[simulated])

    def retail_micros_per_gpu_hour(self, gpu: str, *, simulated: bool) -> int | None:
        """Return the retail price of a GPU for simulated jobs, or for all others; None where nothing is known of it.

        It is the price of the cheapest hyperscaler of the file that such jobs can go to, else what the file says under
        `[retail]`, else the price of the cheapest hyperscaler of the shipped list.
        """
        here = _cheapest_hyperscaler(self.offers_for(gpu, simulated=simulated))
        if here is None:
            here = self._retail.get(gpu)
        return _cheapest_hyperscaler(default_catalogue().offers(gpu)) if here is None else here


@lru_cache(maxsize=1)
def shipped_suppliers() -> SuppliersFile:
    """Return the suppliers file that comes with the package."""
    return read_suppliers(shipped_text(), SHIPPED_FILE)


def shipped_text() -> str:
    """Return the text of the suppliers file that comes with the package."""
    return resources.files("nodus_core").joinpath("data").joinpath(SHIPPED_FILE).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def default_catalogue() -> Catalogue:
    """Return the ten suppliers that come with the package."""
    return Catalogue(shipped_suppliers())


def _of_kind(offers: Mapping[str, tuple[Offer, ...]], *, simulated: bool) -> dict[str, tuple[Offer, ...]]:
    """Return the offers that are simulated, or those that are not, of the models of which there are any."""
    of_kind = {gpu: tuple(offer for offer in each if offer.simulated is simulated) for gpu, each in offers.items()}
    return {gpu: each for gpu, each in of_kind.items() if each}


def _cheapest_hyperscaler(offers: Iterable[Offer]) -> int | None:
    prices = [offer.micros_per_gpu_hour for offer in offers if offer.kind is SupplierKind.HYPERSCALER]
    return min(prices, default=None)


def _agreed(file: SuppliersFile) -> dict[str, object]:
    """Return what the hash covers. No order of the file is part of it: none decides anything."""
    return {
        "retail": dict(file.retail),
        "suppliers": [
            {
                "name": entry.name,
                "kind": entry.kind.value,
                "regions": sorted(entry.regions),
                "driver": entry.driver.value,
                "gpus": None if entry.gpus is None else dict(entry.gpus),
                "micros_per_gpu_hour": dict(entry.micros_per_gpu_hour),
            }
            for entry in sorted(file.suppliers, key=lambda entry: entry.name)
        ],
    }

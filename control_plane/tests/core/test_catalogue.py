"""The catalogue that a suppliers file makes, and the one that comes with the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from nodus_core.catalogue import Catalogue, default_catalogue, shipped_suppliers
from nodus_core.suppliers_file import (
    DockerOptions,
    DriverName,
    SimulatedOptions,
    SupplierEntry,
    SupplierKind,
    SuppliersFile,
    UnixEndpoint,
)

PRICE_LIST: dict[str, Any] = json.loads(
    Path(__file__).parents[1].joinpath("suppliers.json").read_text(encoding="utf-8")
)

LAB = SupplierEntry(
    name="lab",
    kind=SupplierKind.OWN,
    regions=("basement", "attic"),
    driver=DriverName.SIMULATED,
    gpus={"rtx_4090": 2, "l40s": 1},
    micros_per_gpu_hour={"rtx_4090": 0, "l40s": 10},
    options=SimulatedOptions(),
)
CLOUD = replace(LAB, name="cloud", kind=SupplierKind.HYPERSCALER, gpus=None, micros_per_gpu_hour={"l40s": 70})
FILE = SuppliersFile((LAB, CLOUD), {"rtx_4090": 500_000})


@pytest.mark.parametrize(
    ("kind", "driver", "expected"),
    [
        (SupplierKind.OWN, DriverName.SIMULATED, False),
        (SupplierKind.OWN, DriverName.DOCKER, False),
        (SupplierKind.HYPERSCALER, DriverName.SIMULATED, False),
        (SupplierKind.NEOCLOUD, DriverName.SLURM, True),
        (SupplierKind.TIER3, DriverName.DOCKER, True),
    ],
)
def test_a_file_says_whether_jobs_run_on_machines_of_others(
    kind: SupplierKind, driver: DriverName, expected: bool
) -> None:
    """Of any of its suppliers; what is simulated runs nowhere."""
    assert SuppliersFile((CLOUD, replace(LAB, kind=kind, driver=driver))).has_machines_of_others is expected


def test_the_shipped_suppliers_are_those_of_the_price_list() -> None:
    """Names, classes, places, chances and every price, to the micro-dollar."""
    shipped = {entry.name: entry for entry in shipped_suppliers().suppliers}

    assert list(shipped) == [supplier["name"] for supplier in PRICE_LIST["suppliers"]]
    for listed in PRICE_LIST["suppliers"]:
        entry = shipped[listed["name"]]
        prices = {gpu: price["price"] for gpu, price in listed["usd_per_gpu_hour"].items() if price is not None}
        assert (entry.kind.value, list(entry.regions)) == (listed["kind"], listed["regions"])
        assert entry.micros_per_gpu_hour == {gpu: Fraction(str(price)) * 10**6 for gpu, price in prices.items()}
        assert (entry.driver, entry.gpus) == (DriverName.SIMULATED, None)
        assert entry.options == SimulatedOptions(
            tuple(listed["provisioning_seconds"]), listed["capacity_refusal_rate"], listed["loss_per_hour"]
        )


def test_offers_are_of_every_region_in_the_order_of_the_file() -> None:
    """Any GPU that the file names is offered, whatever it is called."""
    catalogue = Catalogue(FILE)

    assert catalogue.gpus == ("l40s", "rtx_4090")
    assert [(offer.location, offer.micros_per_gpu_hour) for offer in catalogue.offers("l40s")] == [
        (("lab", "basement"), 10),
        (("lab", "attic"), 10),
        (("cloud", "basement"), 70),
        (("cloud", "attic"), 70),
    ]
    assert catalogue.offers("h100_80gb") == ()


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [("l40s", 70), ("rtx_4090", 500_000), ("h100_80gb", 6_880_000), ("unknown", None)],
)
def test_retail_is_what_a_customer_would_have_paid_without_nodus(gpu: str, expected: int | None) -> None:
    """A hyperscaler of the file, else what the file says, else a hyperscaler of the shipped list, else nothing."""
    assert Catalogue(FILE).retail_micros_per_gpu_hour(gpu, simulated=True) == expected


def test_retail_of_the_shipped_list_is_its_cheapest_hyperscaler() -> None:
    """As it was before there were suppliers files."""
    assert default_catalogue().retail_micros_per_gpu_hour("h100_80gb", simulated=True) == 6_880_000


@pytest.mark.parametrize(
    "changed",
    [
        replace(FILE, retail={}),
        replace(FILE, suppliers=(LAB,)),
        replace(FILE, suppliers=(replace(LAB, name="lab2"), CLOUD)),
        replace(FILE, suppliers=(replace(LAB, kind=SupplierKind.TIER3), CLOUD)),
        replace(FILE, suppliers=(replace(LAB, regions=("basement",)), CLOUD)),
        replace(FILE, suppliers=(replace(LAB, driver=DriverName.DOCKER), CLOUD)),
        replace(FILE, suppliers=(replace(LAB, gpus={"rtx_4090": 3, "l40s": 1}), CLOUD)),
        replace(FILE, suppliers=(replace(LAB, gpus=None), CLOUD)),
        replace(FILE, suppliers=(replace(LAB, micros_per_gpu_hour={"rtx_4090": 1, "l40s": 10}), CLOUD)),
    ],
)
def test_the_hash_tells_what_processes_must_agree_on(changed: SuppliersFile) -> None:
    """Whatever a placement or a price could follow from."""
    assert Catalogue(changed).sha256 != Catalogue(FILE).sha256


def test_the_hash_does_not_tell_what_may_differ_by_host() -> None:
    """The drivers' own sections, and the order of a file."""
    options = DockerOptions(UnixEndpoint("/run/docker.sock"))
    other = replace(LAB, options=options, regions=LAB.regions[::-1], start_deadline_seconds=5)

    assert Catalogue(replace(FILE, suppliers=(CLOUD, other))).sha256 == Catalogue(FILE).sha256


def test_the_hash_is_of_a_text_that_anyone_can_write() -> None:
    """It must stay the same over versions: processes of two of them may share a database."""
    text = (
        '{"retail":{"rtx_4090":500000},"suppliers":['
        '{"driver":"simulated","gpus":null,"kind":"hyperscaler","micros_per_gpu_hour":{"l40s":70},"name":"cloud",'
        '"regions":["attic","basement"]},'
        '{"driver":"simulated","gpus":{"l40s":1,"rtx_4090":2},"kind":"own",'
        '"micros_per_gpu_hour":{"l40s":10,"rtx_4090":0},"name":"lab","regions":["attic","basement"]}]}'
    )

    assert Catalogue(FILE).sha256 == hashlib.sha256(text.encode()).hexdigest()

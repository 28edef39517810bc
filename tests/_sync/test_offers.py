# Generated from tests/_async/test_offers.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""`client.offers()`: what it asks for, and what it makes of the answer."""

from __future__ import annotations

import pytest

import nodus
from tests._sync.clients import scripted
from tests.support.script import Script, reply

OFFER = {
    "supplier": "lab",
    "kind": "own",
    "region": "basement",
    "gpu": "rtx_4090",
    "usd_per_gpu_hour": 0.25,
    "free_gpus": 3,
    "available": True,
    "simulated": False,
}


def test_the_price_list_is_read() -> None:
    """In the server's order; a GPU that this version does not know is kept as it came."""
    script = Script(reply(200, {"offers": [{**OFFER, "new": 1}, {"supplier": "older"}]}))
    with scripted(script) as client:
        first, second = client.offers()

    assert script.requests[0].url.raw_path == b"/v1/offers"
    assert first.model_dump() == OFFER
    assert (first.kind, first.gpu) == (nodus.SupplierKind.OWN, nodus.GpuType("rtx_4090"))
    assert (second.supplier, second.free_gpus, second.available) == ("older", None, None)


@pytest.mark.parametrize("gpu", ["l40s", nodus.GpuType.L40S])
def test_one_gpu_can_be_asked_for(gpu: str) -> None:
    """As an enumeration's member or as its wire value."""
    script = Script(reply(200, {"offers": []}))
    with scripted(script) as client:
        offers = client.offers(gpu=gpu)

    assert script.requests[0].url.raw_path == b"/v1/offers?gpu=l40s"
    assert offers == []


@pytest.mark.parametrize("gpu", ["", "H100", "a b", "l40s\n", nodus.GpuType("a" * 65)])
def test_what_is_no_name_of_a_gpu_is_refused(gpu: str) -> None:
    """Nothing is sent."""
    script = Script()
    with scripted(script) as client:
        with pytest.raises(nodus.ValidationError, match="the name of a GPU model") as caught:
            client.offers(gpu=gpu)

    assert caught.value.code == "invalid_argument"
    assert script.requests == []

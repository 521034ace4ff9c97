from collections import OrderedDict

import pytest
import torch
from torch import nn

from memorization.models.networks import StagedNetwork


def chain(*names: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, nn.Linear(4, 4)) for name in names))


def network(**options) -> StagedNetwork:
    parts = {"encoder": chain("stem", "block", "embedding"), "projector": chain("hidden", "logits")}
    return StagedNetwork(**{**parts, **options}, embedding_size=4)


def test_the_output_is_the_projector_of_the_embedding():
    model, x = network(), torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), model.projector(model.embed(x)))
    assert torch.equal(model.embed(x), model.encoder(x))


def test_sites_are_the_stages_in_order_of_depth_with_the_names_of_their_modules():
    assert list(network().sites.items()) == [
        ("stem", "encoder.stem"),
        ("block", "encoder.block"),
        ("embedding", "encoder.embedding"),
        ("hidden", "projector.hidden"),
        ("logits", "projector.logits"),
    ]


def test_each_site_leads_to_a_submodule():
    model = network()
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in model.sites.values())


def test_a_stage_left_out_is_no_site_unless_it_is_asked_for():
    model = network(leave_out=["block"])
    assert "block" not in model.sites
    assert model.choose_sites(["logits", "block"]) == {
        "logits": "projector.logits",
        "block": "encoder.block",
    }


def test_an_unknown_site_lists_those_there_are_and_the_nearest():
    with pytest.raises(
        KeyError, match=r"no site 'embeding'; did you mean 'embedding'\?; .* has stem, block,"
    ):
        network().choose_sites(["embeding"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"encoder": chain("stem", "pool")}, "last stage of the encoder must be named 'embedding'"),
        ({"projector": chain("hidden")}, "last stage of the projector must be named 'logits'"),
        ({"projector": nn.Sequential()}, "last stage of the projector must be named 'logits'"),
        ({"projector": chain("stem", "logits")}, r"stage names \['stem'\] are in both parts"),
        ({"leave_out": ["conv9"]}, r"leave_out names \['conv9'\]; the stages are stem"),
    ],
)
def test_misnamed_stages_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        network(**options)

"""The names in state dicts, written out: versions and checkpoints of before are read on."""

import pytest
import torch

from ml.graph.graph import build_graph
from ml.graph.message_types import MessageType, message_types
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model
from ml.hgt.parameters import message_key

LAYER = """
    kqv_lin.lins.user.weight kqv_lin.lins.user.bias
    kqv_lin.lins.product.weight kqv_lin.lins.product.bias
    kqv_lin.lins.app.weight kqv_lin.lins.app.bias
    out_lin.lins.user.weight out_lin.lins.user.bias
    out_lin.lins.product.weight out_lin.lins.product.bias
    out_lin.lins.app.weight out_lin.lins.app.bias
    k_rel.weight v_rel.weight skip.app skip.product skip.user
    p_rel.app__rev_clicks__user p_rel.app__rev_uses__user p_rel.product__rev_clicks__user
    p_rel.product__rev_orders__user p_rel.user__calls__user p_rel.user__clicks__app
    p_rel.user__clicks__product p_rel.user__orders__product p_rel.user__rev_calls__user
    p_rel.user__uses__app
"""
TIME = ["time.base", "time.lin.weight", "time.lin.bias"]


@pytest.mark.parametrize("edge_ages", [(), (1.0, 30.0)])
def test_a_state_dict_with_the_written_names_is_read(tables, edge_ages):
    graph = build_graph(tables)
    encoder = FeatureEncoder.of_graph(graph)
    config = ModelConfig(hidden=8, heads=2, edge_ages=edge_ages)
    model = build_model(encoder, config, seed=0)
    names = [
        f"layers.{number}.{name}"
        for number in range(2)
        for name in TIME * bool(edge_ages) + LAYER.split()
    ]
    own = model.state_dict()
    generator = torch.Generator().manual_seed(1)
    old = {name: torch.randn(own[name].shape, generator=generator) for name in names}
    kept = {name: value for name, value in own.items() if not name.startswith("layers.")}
    model.load_state_dict(kept | old)
    # The optimizer's state in a checkpoint goes by the order of the parameters.
    assert [name for name in model.state_dict() if name.startswith("layers.")] == names
    layer = model.layers[1]
    for message in message_types(graph.schema):
        direction = "rev_" if message.reverse else ""
        name = f"{message.source}__{direction}{message.relation}__{message.target}"
        assert torch.equal(layer.p_rel[message_key(message)], old[f"layers.1.p_rel.{name}"])


def test_a_name_of_a_container_s_own_and_a_dot_are_escaped_as_pyg_does():
    assert message_key(MessageType("shop.eu", "sells", "user")) == "shop#eu__sells__user"

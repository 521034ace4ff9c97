"""The paper-scale training on a GPU: half-precision arithmetic, and a compiled network with its taps."""

import pytest

from memorization.studies.random_label_heads.paper_scale import random_label_wide

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("compiled", [False, True])
def test_heads_learn_and_unlearn_in_half_precision(compiled):
    recipe = {"batch": 64, "learning_rate": 0.1, "precision": "bf16", "compiled": compiled}
    common = {
        "dataset": "digits", "side": 8, "n_train": 512, "n_test": 200, "size": (10, 1), "labels": 4,
        "sites": ("conv", "embedding"), "augmented": False, "epochs": 40, "recipe": recipe, "device": "cuda",
    }  # fmt: skip
    arms = {"joint": {"mode": "joint"}, "unlearning": {"mode": "unlearning", "strength": 0.3}}
    online = {}
    for name, arm in arms.items():
        row = random_label_wide(**common, **arm, seed=0)[-1]
        assert (row["at"], row["site"]) == ("end", "embedding")
        assert row["train_accuracy"] > 0.8
        online[name] = row["online"]
    assert online["joint"] > online["unlearning"] + 0.2

import pandas as pd
import pytest

from memorization.studies.feature_contamination.tables import clip_table


def rows(model, architecture, val, shifted):
    return [
        {"model": model, "architecture": architecture, "seed": 0, "set": name, "accuracy": value}
        for name, value in (("val", val), ("r", shifted))
    ]


def standard(*pairs):
    many = [row for k, (val, shifted) in enumerate(pairs) for row in rows(f"net{k}", None, val, shifted)]
    return pd.DataFrame(many).drop(columns="architecture")


@pytest.fixture
def distilled():
    return pd.DataFrame([*rows("teacher", "RN50", 0.7, 0.6), *rows("student", "RN50", 0.7, 0.4)])


def test_a_model_on_the_line_of_standard_models_has_no_effective_robustness(distilled):
    found = clip_table(distilled, standard((0.6, 0.3), (0.7, 0.4), (0.8, 0.5))).set_index("model")
    assert found.loc["student", "effective_robustness"] == pytest.approx(0, abs=0.01)
    assert found.loc["teacher", "effective_robustness"] == pytest.approx(0.2, abs=0.01)


def test_each_row_has_the_accuracy_without_shift_of_its_own_model(distilled):
    found = clip_table(distilled, standard((0.6, 0.3), (0.8, 0.5)))
    assert found.query("model == 'standard'")["id_accuracy"].tolist() == [0.6, 0.8]
    assert found["gap"].tolist() == pytest.approx((found["id_accuracy"] - found["ood_accuracy"]).tolist())


def test_without_two_standard_models_there_is_no_line(distilled):
    assert clip_table(distilled, pd.DataFrame())["effective_robustness"].isna().all()


def test_accuracies_at_one_have_no_logit(distilled):
    found = clip_table(distilled, standard((0.6, 0.3), (0.8, 0.5), (0.9, 1.0)))
    assert found["effective_robustness"].isna().tolist() == [False, False, False, False, True]


def test_no_records_give_an_empty_table():
    assert clip_table(pd.DataFrame(), pd.DataFrame()).empty

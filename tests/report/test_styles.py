import subprocess
import sys

import matplotlib
import pytest

from memorization.report.figures import panels, share_y
from memorization.report.styles import (
    BACKGROUND,
    COLORS,
    FONT_SIZE,
    INK,
    PALETTE,
    apply_theme,
    arm_styles,
    restack,
)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("color", [*PALETTE, *COLORS.values()])
def test_a_line_of_each_color_stands_out_from_the_background(color):
    assert _contrast(color, BACKGROUND) >= 3


def test_text_stands_out_from_the_background():
    assert _contrast(INK, BACKGROUND) >= 7


def test_the_colors_of_the_palette_differ():
    assert len(set(PALETTE)) == len(PALETTE)


def test_an_arm_with_a_color_keeps_it_beside_any_other():
    styles = arm_styles(["16 views", "augmentation", "4 fixed views"])
    assert styles["augmentation"][0] == COLORS["augmentation"]
    assert len({color for color, _ in styles.values()}) == 3


def test_two_arms_of_one_figure_never_share_a_color():
    styles = arm_styles(["φ₂", "φ₄", "ReLU", "tanh", "GELU", "erf"])
    assert len({color for color, _ in styles.values()}) == len({marker for _, marker in styles.values()}) == 6
    assert styles["ReLU"] == arm_styles(["ReLU"])["ReLU"]


def test_too_many_arms_for_the_palette_are_refused():
    with pytest.raises(ValueError, match=r"need more colors than can be told apart: 6 are left for 7"):
        arm_styles([f"{n} views" for n in range(len(PALETTE) + 1)])


def test_the_theme_sets_letters_that_survive_a_phone():
    with matplotlib.rc_context():
        apply_theme()
        smallest = min(
            matplotlib.rcParams[key] for key in ("legend.fontsize", "xtick.labelsize", "font.size")
        )
        assert smallest >= 11
        assert matplotlib.rcParams["font.size"] == FONT_SIZE


def test_importing_the_report_changes_no_plot_settings():
    code = (
        "import matplotlib, sys; before = str(matplotlib.rcParams); import memorization.report; "
        "print(before == str(matplotlib.rcParams), 'seaborn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_narrow_screens_get_the_panels_below_each_other():
    figure = panels(4)[0]
    width, height = figure.get_size_inches()
    assert restack(figure)
    assert figure.get_size_inches()[0] < width
    assert figure.get_size_inches()[1] == pytest.approx(2 * height)
    assert [ax.get_subplotspec().get_geometry()[:3] for ax in figure.axes] == [(4, 1, i) for i in range(4)]


def test_a_restacked_panel_gets_the_label_that_its_neighbor_had():
    figure, axes = panels(2)
    share_y(axes, "accuracy [fraction]")
    restack(figure)
    assert axes[1].yaxis.label.get_visible()
    assert axes[1].yaxis.get_tick_params()["labelleft"]


def test_a_legend_of_the_whole_figure_stays_within_two_columns():
    figure = panels(2)[0]
    handles = figure.axes[0].plot([1], [1]) * 4
    figure.legend(handles, list("abcd"), loc="outside lower center", ncols=4)
    restack(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list("abcd")
    assert legend._ncols == 2


def test_axes_that_lie_free_are_not_restacked():
    figure, _ = panels()
    figure.add_axes((0.5, 0.5, 0.2, 0.2))
    assert not restack(figure)

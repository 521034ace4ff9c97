"""How it is shown: theme, figures, claims and their verdicts."""

from memorization.report.benchmarks import benchmark_figure, benchmark_table, read_benchmarks
from memorization.report.claims import Check, Claim, ClaimError
from memorization.report.claims_file import read_claims
from memorization.report.display import interactive, say, table
from memorization.report.figures import show
from memorization.report.markup import number
from memorization.report.panels import (
    SEED_BAND,
    SEED_BARS,
    curve_with_band,
    legend_above,
    log_ticks,
    panels,
    reference_line,
    seed_curve,
    theory_curve,
)
from memorization.report.parameters import parameter_table
from memorization.report.prices import foot, price_table, write_price
from memorization.report.scoreboard import Scoreboard, scoreboard
from memorization.report.spurious import (
    at_largest,
    draw_against_width,
    draw_alignment,
    draw_alignment_decay,
    draw_curves,
    draw_image_panels,
    draw_pictures,
    draw_products,
    named_curves,
    named_pairs,
    summary,
)
from memorization.report.theme import COLORS, PALETTE, apply_theme, color_of
from memorization.report.verdict_view import verdict_sentence, verdict_table
from memorization.report.verdicts import judge

__all__ = [
    "COLORS",
    "PALETTE",
    "SEED_BAND",
    "SEED_BARS",
    "Check",
    "Claim",
    "ClaimError",
    "Scoreboard",
    "apply_theme",
    "at_largest",
    "benchmark_figure",
    "benchmark_table",
    "color_of",
    "curve_with_band",
    "draw_against_width",
    "draw_alignment",
    "draw_alignment_decay",
    "draw_curves",
    "draw_image_panels",
    "draw_pictures",
    "draw_products",
    "foot",
    "interactive",
    "judge",
    "legend_above",
    "log_ticks",
    "named_curves",
    "named_pairs",
    "number",
    "panels",
    "parameter_table",
    "price_table",
    "read_benchmarks",
    "read_claims",
    "reference_line",
    "say",
    "scoreboard",
    "seed_curve",
    "show",
    "summary",
    "table",
    "theory_curve",
    "verdict_sentence",
    "verdict_table",
    "write_price",
]

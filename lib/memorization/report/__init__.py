"""How it is shown: theme, figures, claims and their verdicts."""

from memorization.report.arms import arm_names, at_end, at_start, named_sets, paired_gain, plain_arms
from memorization.report.benchmarks import benchmark_figure, benchmark_table, read_benchmarks
from memorization.report.benign import (
    draw_depth,
    draw_invariance,
    draw_memorization_curves,
    draw_random_labels,
)
from memorization.report.benign_sweeps import (
    draw_datasets,
    draw_groups,
    draw_label_noise,
    draw_projector,
    draw_shared_independent,
    draw_strength,
    draw_views,
)
from memorization.report.benign_table import benign_table, readable
from memorization.report.claims import Check, Claim, ClaimError
from memorization.report.claims_file import read_claims
from memorization.report.contamination import draw_asymmetry, draw_correlations, draw_neurons, draw_risks
from memorization.report.contamination_arms import (
    contamination_names,
    contamination_table,
    ends,
    signed_means,
    slope_color,
)
from memorization.report.contamination_formulas import draw_growth, draw_margins, draw_shift_accuracy
from memorization.report.contamination_sweeps import draw_activations, draw_dial, draw_remedies, draw_sweep
from memorization.report.contamination_transfer import draw_distillation, draw_frames, draw_robustness
from memorization.report.display import interactive, say, table
from memorization.report.figures import show
from memorization.report.markup import number
from memorization.report.panels import (
    SEED_BAND,
    SEED_BARS,
    curve_with_band,
    legend_above,
    log_ticks,
    log_ticks_from_zero,
    panels,
    reference_line,
    seed_curve,
    theory_curve,
)
from memorization.report.parameters import parameter_table
from memorization.report.prices import foot, price_table, write_price
from memorization.report.risk_explorer import explorer_data, risk_explorer
from memorization.report.rows import dumbbells
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
    "arm_names",
    "at_end",
    "at_largest",
    "at_start",
    "benchmark_figure",
    "benchmark_table",
    "benign_table",
    "color_of",
    "contamination_names",
    "contamination_table",
    "curve_with_band",
    "draw_activations",
    "draw_against_width",
    "draw_alignment",
    "draw_alignment_decay",
    "draw_asymmetry",
    "draw_correlations",
    "draw_curves",
    "draw_datasets",
    "draw_depth",
    "draw_dial",
    "draw_distillation",
    "draw_frames",
    "draw_groups",
    "draw_growth",
    "draw_image_panels",
    "draw_invariance",
    "draw_label_noise",
    "draw_margins",
    "draw_memorization_curves",
    "draw_neurons",
    "draw_pictures",
    "draw_products",
    "draw_projector",
    "draw_random_labels",
    "draw_remedies",
    "draw_risks",
    "draw_robustness",
    "draw_shared_independent",
    "draw_shift_accuracy",
    "draw_strength",
    "draw_sweep",
    "draw_views",
    "dumbbells",
    "ends",
    "explorer_data",
    "foot",
    "interactive",
    "judge",
    "legend_above",
    "log_ticks",
    "log_ticks_from_zero",
    "named_curves",
    "named_pairs",
    "named_sets",
    "number",
    "paired_gain",
    "panels",
    "parameter_table",
    "plain_arms",
    "price_table",
    "read_benchmarks",
    "read_claims",
    "readable",
    "reference_line",
    "risk_explorer",
    "say",
    "scoreboard",
    "seed_curve",
    "show",
    "signed_means",
    "slope_color",
    "summary",
    "table",
    "theory_curve",
    "verdict_sentence",
    "verdict_table",
    "write_price",
]

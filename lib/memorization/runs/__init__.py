"""How runs are made: parameters, sweep, records, provenance, executing a notebook."""

from memorization.runs.parameters import ParameterError, check_parameters, declared
from memorization.runs.records import Record, RecordError, RecordStore
from memorization.runs.start import Run, start
from memorization.runs.sweep import SweepError, sweep

__all__ = [
    "ParameterError",
    "Record",
    "RecordError",
    "RecordStore",
    "Run",
    "SweepError",
    "check_parameters",
    "declared",
    "start",
    "sweep",
]

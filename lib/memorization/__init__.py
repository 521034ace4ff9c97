"""The shared library of *Memorization, Measured*.

One room per question: ``data`` (what is learned), ``models`` (what learns), ``training`` (how it learns),
``measures`` (what it memorized), ``runs`` (how runs are made), ``report`` (how it is shown).
A room imports only from those named before it.
"""

__version__ = "0.1.0"

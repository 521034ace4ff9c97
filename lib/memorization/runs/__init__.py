"""How runs are made: parameters, sweep, records, provenance, executing a notebook."""

"""Coverage-guided fuzzing; README.md says how. Not part of ``make test``."""

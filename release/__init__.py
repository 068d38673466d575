"""What a release is checked with; no part of the package."""

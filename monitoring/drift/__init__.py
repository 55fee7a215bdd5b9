"""Drift from counts alone. All modules but `replicas` are PURE: counts of the reference profile's places in, scores and a verdict out."""

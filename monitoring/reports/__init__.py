"""Reports in depth on rows of the prediction log against a version's reference: Evidently, in a process of its own, beside our integrity checks."""

"""Serves one MLflow model over HTTP: the hot path inside the bento. Imports nothing of the other rooms, so that a bento builds and runs alone."""

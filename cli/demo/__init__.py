"""The main job on real flights, from nothing to a report: `slipway demo`."""

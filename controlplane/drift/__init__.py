"""Watches the versions in service for drift: collects counts, keeps windows, judges them, tells. Off the rollout loop."""

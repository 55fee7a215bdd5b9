"""Dashboards of Grafana, made by typed Python and committed as JSON. `generate.py` is the way in; `docs/dashboards.md` shows them."""

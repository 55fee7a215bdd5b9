"""What is measured and how it is watched: metric names, Prometheus' configuration and rules, runbooks. Data, and the code that renders it."""

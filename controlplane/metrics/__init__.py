"""What the control plane tells Prometheus of itself, its models and its rollouts. `recorder.Recorder` is the way in."""

"""The local stack: MLflow, Envoy and the control plane as supervised child processes. `stack.Stack` is the way in."""

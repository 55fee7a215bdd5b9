"""Tells people's chat rooms and other programs what happens to rollouts. `notifier.Notifier` is the way in."""

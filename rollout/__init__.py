"""What a rollout is and what to do next. Pure: standard library and `judge` only, no clock, no I/O."""

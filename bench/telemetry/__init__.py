"""The parts of `bench_telemetry`: who serves without telemetry, who asks as fast as it can, who takes the spans."""

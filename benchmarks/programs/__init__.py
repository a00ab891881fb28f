"""Real programs on real libraries, with the loop and with pmap: `python -m benchmarks.programs`."""

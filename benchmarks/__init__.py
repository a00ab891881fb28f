"""Benchmarks of parmap beside the loop and other libraries: `python -m benchmarks`."""

"""Change the product a little, a thousand times, and see whether a test notices: `python -m tests.mutants`."""

"""Measure the line: `make bench`."""

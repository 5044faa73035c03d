"""Look at the results page in a real browser."""

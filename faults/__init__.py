"""
Break the whole on purpose, and count what came of it: the faults F1 to F18, and the soak that mixes them.

Real processes on one machine: the local cloud with the packaged app, workers, a ComfyUI stand-in, spreadsheets, and
between them what makes faults (`proxy`, `kills`). `python -m faults` runs the scenarios and prints a report.
"""

"""
Attack S1 to S16 of docs/threats.md, and count: what was tried, what got through.

`make security` prints the table of figures and writes it to faults/results/security.json; SIZE=all tries as much as
docs/promises.md tells of (minutes), the default a sample (seconds).
"""

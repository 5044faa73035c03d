"""
Mix all faults over a long run, and judge every promise in the end (F18): `python -m faults soak --rows 2000`.

`plan` draws the faults from a seed; `crowd` submits, from sheets and programs; `weather` does what the plan says;
`watch` looks at states, cells, events, memory; `judge` compares everything with the ledger; `page` writes the report.
"""

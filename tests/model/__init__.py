"""
Try every interleaving of the protocol, within budgets of faults: `python -m tests.model --help`.

One job with a row; two workers, two completions, the API, the sweeper, a user who cancels, and a queue that loses,
hides and repeats. Nothing of the ledger is written down here a second time: a step of the model is a call of the twin
(`tests.fakes.MemoryLedger`, which evaluates the product's table), of the product's own sweeper and window, and of its
own completion. What is modelled is what lies between: processes that die between any two calls, messages, and time.

- Time is what has passed or not (a lease, a pause, a deadline); any of it may pass at any moment.
- A step that is a fault takes from a budget. All other steps may happen at any time, as often as they are possible.
- A completion that was forgotten (its message is visible again) may go on for as long as it likes, but not beyond the
  second look at the row, ten minutes later: a function lives for one.
- One hint that waits is as good as two: who takes it reads the job anew.
- A sweep that comes while what it would send is on its way, or that acts on what it read a while ago, is a duplicate.
"""

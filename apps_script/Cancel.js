/**
 * Stop rows that are under way.
 */

/**
 * Cancel rows of the active tab.
 *
 * @param {(table: Table) => number[]} choose gives the rows it may be about
 * @return {string} what came of it
 */
function cancelRows_(choose) {
  const connection = needConnection_();
  const sheet = SpreadsheetApp.getActiveSheet();
  const table = readTable_(sheet);
  const chosen = choose(table);
  const rows = chosen.filter((row) => UNDER_WAY_.includes(statusOf_(table, row)));
  const waiting = chosen.filter(beingSent_(table)); // rows that a run has not come to yet; it leaves them alone then
  if (rows.length + waiting.length === 0) return 'Nothing to cancel: none of these rows is queued or processing.';
  nextTurn_(sheet, waiting.map((row) => ({ key: textOf_(table, row, 'jobId'), row, from: ['pending'], status: 'cancelled' })), []);
  const keys = [...new Set(rows.map((row) => textOf_(table, row, 'jobId')).filter((key) => key !== ''))];
  const isAlive = liveRuns_(); // before the API is asked: what is over by then has had its answers
  const answers = inRequests_(keys).map((some) => askApi_(connection, '/v1/sheets/cancel', { job_keys: some }));
  const results = new Map(answers.flatMap(({ results: all }) => all).map((one) => [one.job_key, one]));
  /** @type {Verdict[]} */
  const verdicts = [];
  const counts = { cancelled: waiting.length, ended: 0, unknown: 0, sending: 0, nameless: 0 };
  for (const row of rows) {
    const key = textOf_(table, row, 'jobId');
    const { result, state } = results.get(key) || { result: 'unknown', state: '' };
    if (result === 'cancelled') counts.cancelled++;
    else if (result === 'ended') counts.ended++;
    else if (key === '') counts.nameless++;
    else if (isAlive(key)) counts.sending++;
    else counts.unknown++;
    if (result === 'cancelled' && /^cancell?ed$/.test(state)) verdicts.push({ key, row, from: UNDER_WAY_, status: 'cancelled' });
    // The API never got this row. With auto mode on, "pending" would start it.
    else if (result === 'unknown' && key !== '' && !isAlive(key)) verdicts.push({ key, row, from: UNDER_WAY_, status: connection.auto ? 'cancelled' : 'pending' });
  }
  nextTurn_(sheet, verdicts, []);
  return cancelled_(counts, connection.auto);
}

/**
 * Say what came of cancelling.
 *
 * @param {{cancelled: number, ended: number, unknown: number, sending: number, nameless: number}} counts
 * @param {boolean} auto
 * @return {string}
 */
function cancelled_({ cancelled, ended, unknown, sending, nameless }, auto) {
  const parts = [`${count_(cancelled, 'row')} cancelled`];
  if (ended > 0) parts.push(`${number_(ended)} had ended already`);
  if (unknown > 0) parts.push(`${number_(unknown)} never sent, now ${auto ? 'cancelled' : 'pending again'}`);
  if (sending > 0) parts.push(`${number_(sending)} being sent just now: cancel again in a minute`);
  if (nameless > 0) parts.push(`${number_(nameless)} without a Job ID: set their Status by hand`);
  return `${parts.join(', ')}.`;
}

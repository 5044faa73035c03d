/**
 * Get results that did not arrive in the sheet: rows that were cut, changed or deleted while they were under way, a sheet
 * that was not shared, a script that was ended half-way.
 */

/**
 * Ask for the results of this tab.
 *
 * @return {string} what came of it
 */
function fetchMissing_() {
  const connection = needConnection_();
  const sheet = SpreadsheetApp.getActiveSheet();
  const table = readTable_(sheet);
  const rows = selectedOrAll_(table, (row) => isMissing_(table, row));
  const keys = [...new Set(rows.map((row) => textOf_(table, row, 'jobId')))];
  const requests = inRequests_(keys);
  // Without any key the API still looks for results whose rows are gone.
  if (requests.length === 0) requests.push([]);
  const isAlive = liveRuns_(); // before the API is asked: what is over by then has had its answers
  const answers = requests.map((some) => askApi_(connection, '/v1/sheets/fetch', { sheet_id: sheet.getSheetId(), job_keys: some }));
  const results = new Map(answers.flatMap(({ results: all }) => all).map((one) => [one.job_key, one.result]));
  const of = (/** @type {string} */ result) => rows.filter((row) => (results.get(textOf_(table, row, 'jobId')) || 'unknown') === result);
  const unknown = of('unknown').filter((row) => !isAlive(textOf_(table, row, 'jobId')));
  const lost = unknown.filter((row) => statusOf_(table, row) === 'queued');
  nextTurn_(sheet, lost.map((row) => ({ key: textOf_(table, row, 'jobId'), row, from: ['queued'], status: 'pending' })), []);
  return fetched_({
    coming: of('coming').length,
    underWay: of('under_way').length + of('unknown').length - unknown.length,
    lost: lost.length,
    strange: unknown.length - lost.length,
    gone: Math.max(0, ...answers.map(({ gone }) => Number(gone) || 0)),
    fresh: Math.max(0, ...answers.map(({ fresh }) => Number(fresh) || 0)),
  });
}

/**
 * Say whether a row waits for something.
 *
 * @param {Table} table
 * @param {number} row
 * @return {boolean}
 */
function isMissing_(table, row) {
  if (textOf_(table, row, 'jobId') === '') return false;
  const status = statusOf_(table, row);
  const noOutput = 'outputUrl' in table.columns.ours && textOf_(table, row, 'outputUrl') === '';
  return UNDER_WAY_.includes(status) || (status === 'done' && noOutput);
}

/**
 * Say what came of it.
 *
 * @param {{coming: number, underWay: number, lost: number, strange: number, gone: number, fresh: number}} counts
 * @return {string}
 */
function fetched_({ coming, underWay, lost, strange, gone, fresh }) {
  const parts = [];
  if (coming > 0) parts.push(`${count_(coming, 'result is', 'results are')} coming within seconds.`);
  if (underWay > 0) parts.push(`${count_(underWay, 'row is', 'rows are')} still under way.`);
  if (lost > 0) parts.push(`${count_(lost, 'row', 'rows')} never reached the API and ${lost === 1 ? 'says' : 'say'} pending again: ComfySheet > Generate all pending starts ${lost === 1 ? 'it' : 'them'}.`);
  if (strange > 0) parts.push(`${count_(strange, 'row has a Job ID', 'rows have a Job ID')} that the API does not know: generate ${strange === 1 ? 'it' : 'them'} again.`);
  if (gone > 0) parts.push(`${count_(gone, 'result has', 'results have')} no row any more and ${gone === 1 ? 'goes' : 'go'} to the tab Results.`);
  if (parts.length > 0) return parts.join(' ');
  const deleted = fresh > 0 ? ' If a row was deleted within the last ten minutes, its result comes to the tab Results.' : '';
  return `Nothing is missing: every row of this tab that was sent has its result.${deleted}`;
}

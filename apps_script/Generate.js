/**
 * Start rows: bind each by a new Job ID, say "queued", then ask the API.
 *
 * The order matters. Job ID and "queued" are in the sheet before a request leaves, and "queued" is never written after
 * it: a fast worker's "done" may stand there already. Rows that do not fit into the first request say "pending" until
 * their turn comes; should Google end the script half-way, they still do, and "Generate all pending" goes on with them.
 */

/**
 * Start the rows of an order.
 *
 * @param {Order} order
 * @param {boolean} [unasked] the person knows which rows these are
 * @return {string} what came of it; '' when the person would rather not
 */
function start_(order, unasked) {
  const connection = needConnection_();
  const sheet = SpreadsheetApp.getActiveSheet();
  if (!offerSetUp_(sheet)) return '';
  const lease = leaseOf_(connection);
  const run = beginRun_();
  try {
    lease.hold();
    let batch = underLock_(() => mark_(sheet, run, plan_(sheet, order, null), Boolean(unasked)));
    if (!batch.marked) {
      lease.letGo();
      if (!agrees_(question_(batch.plan))) return '';
      lease.hold();
      const { plan } = batch;
      signOfLife_(run);
      batch = underLock_(() => mark_(sheet, run, plan_(sheet, order, plan), true));
    }
    return summary_(order, batch, submit_(connection, sheet, batch, lease));
  } finally {
    endRun_(run);
    lease.letGo();
  }
}

/**
 * See that the sheet has what submitting needs; offer to add it.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {boolean} whether it has it now
 */
function offerSetUp_(sheet) {
  const missing = missingColumns_(readColumns_(sheet));
  if (missing.length === 0) return true;
  const question = `Row 1 of this sheet has no header ${missing.join(' and no header ')}. Set up this sheet now? Missing columns are added at the right; nothing is moved or overwritten.`;
  if (!agrees_(question)) return false;
  tell_(prepareSheet_(sheet, false, []));
  return missingColumns_(readColumns_(sheet)).length === 0;
}

/**
 * @typedef {object} Batch
 * @property {Plan} plan
 * @property {boolean} marked false: the person must be asked first, and nothing was written
 * @property {string} run
 * @property {Verdict[]} refused rows that can never work as they are; their cells say so
 * @property {Chunk[]} chunks the other rows; those of the first say "queued", the others "pending"
 */

/**
 * Mark the rows of a plan, unless the person must be asked first. Call it under the lock.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {string} run
 * @param {Plan} plan
 * @param {boolean} agreed
 * @return {Batch}
 */
function mark_(sheet, run, plan, agreed) {
  if (!agreed && needsAsking_(plan)) return { plan, marked: false, run, refused: [], chunks: [] };
  plan.rows.forEach((row, count) => {
    row.key = jobIdOf_(run, count);
  });
  const { sendable, refused } = sortOut_(plan.rows);
  const chunks = chunksOf_(sendable, headOf_(sheet, plan.columns));
  writeMarks_(sheet, plan, chunks, refused);
  return { plan, marked: true, run, refused, chunks };
}

/**
 * Write Job IDs and statuses, and take old errors away.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Plan} plan
 * @param {Chunk[]} chunks
 * @param {Verdict[]} refused
 */
function writeMarks_(sheet, plan, chunks, refused) {
  if (plan.rows.length === 0) return;
  const { jobId, status, error, submittedBy } = plan.columns.ours;
  const rows = plan.rows.map(({ row }) => row);
  const next = chunks.length > 0 ? chunks[0].rows.map(({ row }) => row) : [];
  const later = chunks.slice(1).flatMap((chunk) => chunk.rows.map(({ row }) => row));
  writeColumn_(sheet, jobId, plan.rows.map(({ row, key }) => ({ row, value: key })), true);
  fillColumn_(sheet, status, next, 'queued');
  fillColumn_(sheet, status, later, 'pending');
  fillColumn_(sheet, status, refused.map(({ row }) => row), 'error');
  if (error !== undefined) {
    cellsOf_(sheet, error, rows).clearContent();
    clearOwnNotes_(sheet, error, rows);
    writeErrors_(sheet, error, refused.map((verdict) => ({ row: verdict.row, verdict })));
  }
  const person = submittedBy === undefined ? '' : whoRunsThis_();
  if (person) fillColumn_(sheet, submittedBy, rows, person);
  fillColumn_(sheet, plan.columns.ours.run, plan.ticked, false);
  SpreadsheetApp.flush();
}

/**
 * Find out who presses the menu.
 *
 * @return {string} '' when Google does not tell: the manifest does not ask for userinfo.email, or another domain
 */
function whoRunsThis_() {
  try {
    return Session.getActiveUser().getEmail();
  } catch (error) {
    return '';
  }
}

/**
 * Say what became of the rows.
 *
 * @param {Order} order
 * @param {Batch} batch
 * @param {Outcome} outcome
 * @return {string} such as "38 rows queued, 2 skipped (hidden), 1 refused (row 7: ...)"
 */
function summary_(order, batch, outcome) {
  const { refused, failed, left, trouble } = outcome;
  const ignored = [...outcome.ignored].filter((header) => !outcome.used.has(header));
  const skipped = skipped_(batch.plan);
  if (batch.plan.rows.length + skipped.length === 0) return order.nothing;
  const parts = [`${count_(outcome.queued, 'row')} queued`, ...skipped];
  if (refused.length > 0) parts.push(`${number_(refused.length)} refused (row ${refused[0].row}: ${refused[0].sentence})`);
  if (failed.length > 0) parts.push(`${number_(failed.length)} not started: ${failed[0].sentence}`);
  if (outcome.taken > 0) parts.push(`${number_(outcome.taken)} left alone (changed by somebody meanwhile)`);
  const said = [parts.join(', ')];
  if (left > 0) {
    const why = failed.some(({ sentence }) => sentence === trouble) ? '' : ` (${trouble.replace(/\.$/, '')})`;
    said.push(`${count_(left, 'row is', 'rows are')} still pending${why}: ComfySheet > Generate all pending goes on with them.`);
  }
  if (outcome.parked) said.push(`Results cannot be written just now: ${outcome.parked} ComfySheet > Settings > Test tells more.`);
  if (ignored.length > 0) said.push(`Not used, because the workflow has no such parameter: ${ignored.join(', ')}.`);
  return said.join('. ').replace(/\.\. /g, '. ');
}

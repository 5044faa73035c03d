/**
 * Generate selected rows: bind each row by a new Job ID, say "queued", then ask the API.
 *
 * The order matters. Job ID and "queued" are in the sheet before the request leaves, and "queued" is never written after
 * it: a fast worker's "done" may stand there already.
 */

/** How long a second click waits for the first one. */
const LOCK_WAIT_MS_ = 10000;

/** What Status says once a row is on its way; such rows are not sent again. */
const UNDER_WAY_ = ['queued', 'processing'];

/**
 * @typedef {object} Row
 * @property {string} key the Job ID
 * @property {number} row 1-based, when it was read; the row may have moved since
 * @property {*} before what Status held, ready to be written back
 * @property {Wish} wish
 */

/**
 * @typedef {object} Batch
 * @property {Row[]} rows marked as queued
 * @property {Columns} columns
 * @property {number} hidden how many rows were left out because a filter hides them
 * @property {number} underWay how many rows were left out because they are queued or processing
 */

/**
 * Menu: start the selected rows.
 */
function generateSelectedRows() {
  const connection = connection_();
  if (!connection) {
    insist_('This spreadsheet is not connected yet. Open ComfySheet > Settings and paste the address of the API and the key of this spreadsheet.');
    return;
  }
  const sheet = SpreadsheetApp.getActiveSheet();
  if (!offerSetUp_(sheet)) return;
  const batch = queueSelectedRows_(sheet);
  if (!batch) return;
  const outcome = submit_(connection, sheet, batch);
  settle_(sheet, [...outcome.refused, ...outcome.failed]);
  const wrong = outcome.refused.length + outcome.failed.length > 0;
  tell_(summary_(batch, outcome), wrong ? 20 : 8);
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
  const ui = SpreadsheetApp.getUi();
  const question = `Row 1 of this sheet has no header ${missing.join(' and no header ')}. Set up this sheet now? Missing columns are added at the right; nothing is moved or overwritten.`;
  if (ui.alert('ComfySheet', question, ui.ButtonSet.YES_NO) !== ui.Button.YES) return false;
  setUpThisSheet();
  return missingColumns_(readColumns_(sheet)).length === 0;
}

/**
 * Choose the rows and mark them, under the document lock, so that a double click starts each row once.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {?Batch} null when somebody else holds the lock for too long
 */
function queueSelectedRows_(sheet) {
  const lock = LockService.getDocumentLock();
  if (!lock.tryLock(LOCK_WAIT_MS_)) {
    tell_('Rows of this spreadsheet are being started just now. Wait a few seconds and try again.');
    return null;
  }
  try {
    const batch = chooseRows_(sheet);
    markQueued_(sheet, batch);
    SpreadsheetApp.flush();
    return batch;
  } finally {
    lock.releaseLock();
  }
}

/**
 * Read the sheet and choose, of the selected rows, those to start.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {Batch}
 */
function chooseRows_(sheet) {
  const data = sheet.getDataRange();
  const values = data.getValues();
  const shown = data.getDisplayValues();
  const columns = findColumns_(shown[0]);
  /** @type {Batch} */
  const batch = { rows: [], columns, hidden: 0, underWay: 0 };
  for (const row of selectedRows_(SpreadsheetApp.getActiveRangeList(), shown.length)) {
    const wish = readWish_(columns, values[row - 1], shown[row - 1]);
    if (!wish) continue;
    const status = shown[row - 1][columns.ours.status];
    if (UNDER_WAY_.includes(status.trim().toLowerCase())) {
      batch.underWay++;
    } else if (sheet.isRowHiddenByFilter(row)) {
      batch.hidden++;
    } else {
      batch.rows.push({ key: Utilities.getUuid(), row, before: values[row - 1][columns.ours.status], wish });
    }
  }
  keepFormulas_(sheet, batch);
  return batch;
}

/**
 * Make what Status held fit to be written back: a formula as the formula, text as text.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Batch} batch
 */
function keepFormulas_(sheet, batch) {
  if (batch.rows.length === 0) return;
  const first = batch.rows[0].row;
  const height = batch.rows[batch.rows.length - 1].row - first + 1;
  const formulas = sheet.getRange(first, batch.columns.ours.status + 1, height, 1).getFormulas();
  for (const row of batch.rows) {
    const formula = formulas[row.row - first][0];
    const looksTyped = typeof row.before === 'string' && /^[=+\-@']/.test(row.before);
    row.before = formula || (looksTyped ? `'${row.before}` : row.before);
  }
}

/**
 * Write Job ID and "queued", and take the old error away.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Batch} batch
 */
function markQueued_(sheet, batch) {
  const { jobId, status, error } = batch.columns.ours;
  const writes = (/** @type {(row: Row) => string} */ value) => batch.rows.map((row) => ({ row: row.row, value: value(row) }));
  writeColumn_(sheet, jobId, writes((row) => row.key), '@');
  writeColumn_(sheet, status, writes(() => 'queued'));
  if (error !== undefined) writeColumn_(sheet, error, writes(() => ''));
}

/**
 * Say what became of the selection.
 *
 * @param {Batch} batch
 * @param {Outcome} outcome
 * @return {string} such as "38 rows queued, 2 skipped (hidden), 1 refused (row 7: ...)"
 */
function summary_(batch, outcome) {
  const { refused, failed } = outcome;
  /** @type {[number, string][]} */
  const reasons = [[batch.hidden, 'hidden'], [batch.underWay, 'already under way']];
  const skipped = reasons.filter(([count]) => count > 0);
  if (batch.rows.length + skipped.length === 0) {
    return 'Nothing to generate: select rows below the header that have a prompt, a workflow or parameters.';
  }
  const parts = [`${outcome.queued} ${outcome.queued === 1 ? 'row' : 'rows'} queued`];
  if (skipped.length === 1) parts.push(`${skipped[0][0]} skipped (${skipped[0][1]})`);
  if (skipped.length === 2) {
    parts.push(`${batch.hidden + batch.underWay} skipped (${skipped.map((one) => one.join(' ')).join(', ')})`);
  }
  if (refused.length > 0) parts.push(`${refused.length} refused (row ${refused[0].row}: ${refused[0].sentence})`);
  if (failed.length > 0) parts.push(`${failed.length} not started: ${failed[0].sentence}`);
  return parts.join(', ');
}

/**
 * A tab as it was when it was read, and writing into it: few calls, and never a cell that is not meant.
 */

/** What Status says once a row is on its way; such rows are not sent again. */
const UNDER_WAY_ = ['queued', 'processing'];

/** What Status says of a row that came to nothing. */
const FAILED_ = ['error', 'cancelled'];

/** How long to wait for others who are working on this spreadsheet. */
const LOCK_WAIT_MS_ = 10000;

/**
 * @typedef {object} Table
 * @property {Columns} columns
 * @property {any[][]} values row 1 first
 * @property {string[][]} shown the same cells as they are shown
 */

/**
 * Read a tab.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {Table}
 */
function readTable_(sheet) {
  const data = sheet.getDataRange();
  const values = data.getValues();
  const shown = data.getDisplayValues();
  return { columns: findColumns_(shown[0], () => readMarks_(sheet)), values, shown };
}

/**
 * Read a cell of one of our columns.
 *
 * @param {Table} table
 * @param {number} row 1-based
 * @param {string} name
 * @return {string} what it shows, without spaces around it; '' also when the sheet has no such column
 */
function textOf_(table, row, name) {
  const at = table.columns.ours[name];
  return at === undefined ? '' : table.shown[row - 1][at].trim();
}

/**
 * Read a row's Status.
 *
 * @param {Table} table
 * @param {number} row 1-based
 * @return {string} lower case
 */
function statusOf_(table, row) {
  return textOf_(table, row, 'status').toLowerCase();
}

/**
 * Do something while no other execution of this script works on the spreadsheet. It keeps out neither people nor the
 * service, so whatever is written is checked by its Job ID all the same.
 *
 * @template T
 * @param {() => T} work
 * @param {number} [waitMs]
 * @return {T}
 */
function underLock_(work, waitMs) {
  const lock = LockService.getDocumentLock();
  if (!lock.tryLock(waitMs || LOCK_WAIT_MS_)) {
    throw new ForPerson_('Rows of this spreadsheet are being started just now. Wait a few seconds and try again.');
  }
  try {
    return work();
  } finally {
    lock.releaseLock();
  }
}

/**
 * @typedef {object} CellWrite
 * @property {number} row 1-based
 * @property {any} value
 */

/**
 * Split ascending rows into runs of neighbours.
 *
 * @template {{row: number}} T
 * @param {T[]} cells
 * @return {T[][]}
 */
function neighbours_(cells) {
  /** @type {T[][]} */
  const runs = [];
  for (const cell of cells) {
    const last = runs[runs.length - 1];
    if (last && last[last.length - 1].row + 1 === cell.row) last.push(cell);
    else runs.push([cell]);
  }
  return runs;
}

/**
 * Name the cells of one column in these rows.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based place of the column
 * @param {number[]} rows ascending, at least one
 * @return {SpreadsheetApp.RangeList}
 */
function cellsOf_(sheet, at, rows) {
  const column = columnName_(at);
  const runs = neighbours_(rows.map((row) => ({ row })));
  return sheet.getRangeList(runs.map((run) => `${column}${run[0].row}:${column}${run[run.length - 1].row}`));
}

/**
 * Write the same value into one column of these rows: two calls, however scattered the rows are.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number|undefined} at 0-based; nothing happens when the sheet has no such column
 * @param {number[]} rows ascending
 * @param {any} value
 */
function fillColumn_(sheet, at, rows, value) {
  if (at !== undefined && rows.length > 0) cellsOf_(sheet, at, rows).setValue(value);
}

/**
 * Write different texts into one column, neighbours in one call each.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based place of the column
 * @param {CellWrite[]} writes ascending by row
 * @param {boolean} [asText] keep text as it is, whatever it looks like
 */
function writeColumn_(sheet, at, writes, asText) {
  if (writes.length > 0 && asText) cellsOf_(sheet, at, writes.map(({ row }) => row)).setNumberFormat('@');
  for (const run of neighbours_(writes)) {
    sheet.getRange(run[0].row, at + 1, run.length, 1).setValues(run.map(({ value }) => [value]));
  }
}

/**
 * @typedef {object} Verdict
 * @property {string} key the Job ID
 * @property {number} row where the row was when it was read, for messages
 * @property {string[]} from what Status must still say, else the row is left alone
 * @property {any} status what Status is to hold
 * @property {string} [sentence] what Error is to hold; left alone when absent
 * @property {string} [details] what the note on Error is to hold besides the Job ID
 */

/**
 * Write verdicts into their rows, wherever those are by now: found by Job ID, and only where Status still says what it
 * said. Call it under the lock, and flush.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Verdict[]} verdicts
 * @return {Set<string>} the Job IDs that were found so
 */
function writeVerdicts_(sheet, verdicts) {
  const { jobId, status, error } = readColumns_(sheet).ours;
  const height = sheet.getLastRow() - 1;
  if (verdicts.length === 0 || jobId === undefined || status === undefined || height < 1) return new Set();
  const byKey = new Map(verdicts.map((verdict) => [verdict.key, verdict]));
  const keys = sheet.getRange(2, jobId + 1, height, 1).getDisplayValues();
  const states = sheet.getRange(2, status + 1, height, 1).getDisplayValues();
  /** @type {{row: number, verdict: Verdict}[]} */
  const found = [];
  keys.forEach(([key], at) => {
    const verdict = byKey.get(key);
    if (verdict && verdict.from.includes(states[at][0].trim().toLowerCase())) found.push({ row: at + 2, verdict });
  });
  for (const value of new Set(found.map(({ verdict }) => verdict.status))) {
    fillColumn_(sheet, status, found.filter(({ verdict }) => verdict.status === value).map(({ row }) => row), value);
  }
  if (error !== undefined) writeErrors_(sheet, error, found);
  return new Set(found.map(({ verdict }) => verdict.key));
}

/**
 * Write sentences into Error, and details into the notes on them.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based place of Error
 * @param {{row: number, verdict: Verdict}[]} found
 */
function writeErrors_(sheet, at, found) {
  const said = found.filter(({ verdict }) => verdict.sentence !== undefined);
  writeColumn_(sheet, at, said.map(({ row, verdict }) => ({ row, value: asText_(String(verdict.sentence)) })), true);
  for (const run of neighbours_(said)) {
    sheet.getRange(run[0].row, at + 1, run.length, 1).setNotes(run.map(({ verdict }) => [noteOf_(verdict)]));
  }
}

/** How every note of ours on an Error cell begins, here and in the service; other people's notes are left alone. */
const NOTE_MARK_ = 'ComfySheet';

/**
 * Take away the notes of ours in a column; people's own stay.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based place of the column
 * @param {number[]} rows ascending, 1-based
 */
function clearOwnNotes_(sheet, at, rows) {
  const height = rows[rows.length - 1] - rows[0] + 1;
  const notes = sheet.getRange(rows[0], at + 1, height, 1).getNotes();
  const own = rows.filter((row) => notes[row - rows[0]][0].startsWith(NOTE_MARK_));
  if (own.length > 0) cellsOf_(sheet, at, own).clearNote();
}

/**
 * Word the note on an Error cell.
 *
 * @param {Verdict} verdict
 * @return {string}
 */
function noteOf_(verdict) {
  return `${NOTE_MARK_}: ${verdict.details || verdict.sentence}\n\nJob ID: ${verdict.key}`;
}

/**
 * Bring marked rows to the API, request by request, and write back what did not work.
 *
 * Rows are found again by their Job ID before every request, for people sort and type meanwhile: a row goes out only
 * while its Job ID is ours and its Status still says "pending".
 */

/** Rows in one request; the API takes no more. */
const MAX_ROWS_ = 100;

/** Headers in one request; the API takes no more. */
const MAX_COLUMNS_ = 200;

/** UTF-8 bytes of one request; the API takes a little more. */
const MAX_BODY_BYTES_ = 200000;

/** When to stop sending: Google ends a script after 6 minutes without a word. */
const LAST_SEND_MS_ = 270000;

/**
 * @typedef {object} Chunk
 * @property {string} head the part of the request that is the same for every chunk
 * @property {Row[]} rows
 */

/**
 * @typedef {object} Outcome
 * @property {number} queued how many rows the API took
 * @property {Verdict[]} refused rows that can never work as they are
 * @property {Verdict[]} failed rows of requests that came to nothing
 * @property {number} taken how many rows somebody changed before their turn came
 * @property {number} left how many rows are still pending
 * @property {string} trouble why they are
 * @property {string} parked why the service cannot write into this spreadsheet now, or ''
 * @property {Set<string>} used headers that some row could use
 * @property {Set<string>} ignored headers that some row could not use
 */

/**
 * Send the rows in as few requests as fit.
 *
 * @param {Connection} connection
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Batch} batch
 * @param {Lease} lease
 * @return {Outcome}
 */
function submit_(connection, sheet, batch, lease) {
  const { chunks, run } = batch;
  /** @type {Outcome} */
  const outcome = { queued: 0, refused: [...batch.refused], failed: [], taken: 0, left: 0, trouble: '', parked: '', used: new Set(), ignored: new Set() };
  /** @type {Verdict[]} */
  let verdicts = [];
  let sent = 0;
  chunks.forEach((chunk, count) => {
    if (!outcome.trouble && count > 0) outcome.trouble = mayGoOn_(lease);
    if (outcome.trouble) {
      outcome.left += chunk.rows.length;
      return;
    }
    let { rows } = chunk;
    if (count > 0) {
      signOfLife_(run);
      const { mine, trouble } = tryNextTurn_(sheet, verdicts, rows);
      if (mine === null) {
        outcome.trouble = trouble;
        outcome.left += rows.length;
        return;
      }
      verdicts = [];
      outcome.taken += rows.length - mine.length;
      rows = mine;
    }
    if (rows.length > 0) verdicts = sendChunk_(connection, { head: chunk.head, rows }, outcome);
    sent += chunk.rows.length;
    if (chunks.length > 1) tell_(`${number_(sent)} of ${count_(batch.plan.rows.length, 'row')} sent`);
  });
  tryNextTurn_(sheet, verdicts, []);
  return outcome;
}

/**
 * Say whether there is time and permission for another request.
 *
 * @param {Lease} lease
 * @return {string} why not, or ''
 */
function mayGoOn_(lease) {
  if (Date.now() - BEGUN_MS_ > LAST_SEND_MS_) return 'Google lets a script run for six minutes only';
  try {
    return lease.renew() ? '' : 'Auto mode is starting rows of this spreadsheet';
  } catch (error) {
    return error.message;
  }
}

/**
 * Between two requests, with one look at the sheet: write what came of the last rows, and mark the next ones.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Verdict[]} verdicts
 * @param {Row[]} rows
 * @return {?Row[]} those that are still ours and pending, and say "queued" now; null when others keep the sheet
 */
function nextTurn_(sheet, verdicts, rows) {
  if (verdicts.length + rows.length === 0) return [];
  const turns = rows.map(({ key, row }) => ({ key, row, from: ['pending'], status: 'queued' }));
  const lock = LockService.getDocumentLock();
  const held = lock.tryLock(3 * LOCK_WAIT_MS_);
  try {
    // A verdict is ours to write with or without the lock: nobody takes a row that says "queued".
    const found = writeVerdicts_(sheet, held ? [...verdicts, ...turns] : verdicts);
    SpreadsheetApp.flush();
    return held ? rows.filter(({ key }) => found.has(key)) : null;
  } finally {
    lock.releaseLock();
  }
}

/**
 * Take the next turn; what Google Sheets refuses or fails at ends the run, not its summary.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Verdict[]} verdicts
 * @param {Row[]} rows
 * @return {{mine: ?Row[], trouble: string}}
 */
function tryNextTurn_(sheet, verdicts, rows) {
  try {
    return { mine: nextTurn_(sheet, verdicts, rows), trouble: 'Somebody else is starting rows of this spreadsheet' };
  } catch (error) {
    console.warn(String(error.stack));
    return { mine: null, trouble: `Google Sheets said: ${error.message}` };
  }
}

/**
 * Split the rows into those that can be sent and those that would fail for certain.
 *
 * @param {Row[]} rows
 * @return {{sendable: Row[], refused: Verdict[]}}
 */
function sortOut_(rows) {
  const sendable = [];
  const refused = [];
  for (const row of rows) {
    row.text = JSON.stringify({ job_key: row.key, row: row.row, workflow: row.wish.workflow, inputs: row.wish.inputs });
    const tooLong = utf8Length_(row.text) > MAX_BODY_BYTES_ / 2 ? 'The row holds too much text for one request (100 KB). Shorten it, then generate again.' : null;
    const fault = faultOf_(row.wish) || tooLong;
    if (fault) refused.push(refused_(row, fault));
    else sendable.push(row);
  }
  return { sendable, refused };
}

/**
 * Give the part of a request that is the same for every chunk.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Columns} columns
 * @return {string} a JSON object without its closing brace
 */
function headOf_(sheet, columns) {
  const head = {
    spreadsheet_id: SpreadsheetApp.getActiveSpreadsheet().getId(),
    sheet_id: sheet.getSheetId(),
    // A prompt may name a column whose cell is empty: {{Style}}.
    columns: columns.inputs.map(({ header }) => header).slice(0, MAX_COLUMNS_),
  };
  return JSON.stringify(head).slice(0, -1);
}

/**
 * Pack rows into requests.
 *
 * @param {Row[]} rows
 * @param {string} head
 * @return {Chunk[]}
 */
function chunksOf_(rows, head) {
  /** @type {Chunk[]} */
  const chunks = [];
  let size = 0;
  for (const row of rows) {
    const more = utf8Length_(row.text) + 1;
    const chunk = chunks[chunks.length - 1];
    if (!chunk || chunk.rows.length === MAX_ROWS_ || size + more > MAX_BODY_BYTES_) {
      chunks.push({ head, rows: [row] });
      size = utf8Length_(head) + 12 + more;
    } else {
      chunk.rows.push(row);
      size += more;
    }
  }
  return chunks;
}

/**
 * Send one request and note what became of its rows.
 *
 * @param {Connection} connection
 * @param {Chunk} chunk
 * @param {Outcome} outcome takes the news
 * @return {Verdict[]} what is to be written into its rows
 */
function sendChunk_(connection, { head, rows }, outcome) {
  const body = `${head},"rows":[${rows.map(({ text }) => text).join(',')}]}`;
  const answer = callApiPatiently_(connection, 'post', '/v1/sheets/jobs', body, (one) => resultsOf_(one, rows) !== null);
  const results = answer.code === 200 ? resultsOf_(answer, rows) : null;
  if (!results) {
    const reason = reasonOf_(answer);
    const failed = rows.map((row) => failed_(row, reason));
    outcome.failed.push(...failed);
    if (answer.code !== 400 && answer.code !== 413) outcome.trouble = reason; // those two are about this request only
    return failed;
  }
  const { parked } = answer.content || {};
  if (parked && typeof parked.reason === 'string') outcome.parked = parked.reason;
  const refused = [];
  for (const row of rows) {
    const { result, message, code, ignored } = results.get(row.key);
    if (result === 'rejected') refused.push(refused_(row, message || 'The API refused this row without saying why.', code));
    else outcome.queued++;
    for (const header of Object.keys(row.wish.inputs)) {
      // A prompt or a seed is what our own columns are for, whether this workflow has one or not.
      const isNews = ignored && ignored.includes(header) && !OUR_INPUTS_.includes(nameOfHeader_(header) || '');
      (isNews ? outcome.ignored : outcome.used).add(header);
    }
  }
  outcome.refused.push(...refused);
  return refused;
}

/**
 * Take the results out of an answer.
 *
 * @param {Answer} answer
 * @param {Row[]} rows
 * @return {?Map<string, any>} by Job ID; null when one of the rows is missing
 */
function resultsOf_({ content }, rows) {
  if (content === null || !Array.isArray(content.results)) return null;
  const results = new Map(content.results.map((/** @type {any} */ one) => [one.job_key, one]));
  return rows.every(({ key }) => results.has(key)) ? results : null;
}

/**
 * @param {Row} row
 * @param {string} sentence
 * @param {string} [code] the API's word for it
 * @return {Verdict} the row can never work as it is
 */
function refused_({ key, row }, sentence, code) {
  const details = code ? `${sentence}\n\nCode: ${code}` : sentence;
  return { key, row, from: ['queued'], status: 'error', sentence, details };
}

/**
 * @param {Row} row
 * @param {string} sentence
 * @return {Verdict} the row is as it was before; its new Job ID stays, in case the request arrived all the same
 */
function failed_({ key, row, before }, sentence) {
  return { key, row, from: ['queued'], status: before, sentence };
}

/**
 * Count the bytes a text takes in UTF-8.
 *
 * @param {string} text
 * @return {number}
 */
function utf8Length_(text) {
  let size = 0;
  for (const character of text) {
    const code = character.codePointAt(0) || 0;
    size += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return size;
}

/**
 * Which rows a menu item is about, and what starting them would mean.
 */

/** From how many rows on a person is asked before they are started. */
const ASK_ABOVE_ = 20;

/**
 * @typedef {object} Order
 * @property {(table: Table) => number[]} candidates the rows it may be about, ascending
 * @property {(text: string) => boolean} wants says of a Status whether such a row is meant
 * @property {string} nothing what to say when there is no such row
 */

/**
 * @typedef {object} Row
 * @property {string} key the Job ID
 * @property {number} row 1-based, when it was read; the row may have moved since
 * @property {any} before what Status held, ready to be written back
 * @property {Wish} wish
 * @property {string} text its part of a request
 * @property {string} print what was read of it, to see whether somebody changed it
 */

/**
 * @typedef {object} Plan
 * @property {Row[]} rows to start
 * @property {Columns} columns
 * @property {number} fresh how many of them were not started before
 * @property {number} again how many of them are done already
 * @property {number} retried how many of them failed or were cancelled
 * @property {number} hidden how many rows are left out because a filter hides them
 * @property {number} underWay how many rows are left out because they are being sent, queued or processing
 * @property {number} changed how many rows are left out because they changed after the person was asked
 * @property {number[]} ticked rows to start whose Run box is ticked
 */

/**
 * Turn the selection into row numbers: ranges may overlap, hold the header, and reach beyond the data.
 *
 * @param {Table} table
 * @return {number[]} ascending, each once, 1-based, without the header
 */
function selectedRows_(table) {
  const selection = SpreadsheetApp.getActiveRangeList();
  /** @type {Set<number>} */
  const rows = new Set();
  for (const range of selection ? selection.getRanges() : []) {
    const end = Math.min(range.getLastRow(), table.shown.length);
    for (let row = Math.max(range.getRow(), 2); row <= end; row++) rows.add(row);
  }
  return [...rows].sort((a, b) => a - b);
}

/**
 * Give all rows below the header.
 *
 * @param {Table} table
 * @return {number[]}
 */
function allRows_(table) {
  return table.shown.slice(1).map((_, at) => at + 2);
}

/**
 * Give the selected rows of a kind, or all of that kind when none of it is selected.
 *
 * @param {Table} table
 * @param {(row: number) => boolean} isMeant
 * @return {number[]}
 */
function selectedOrAll_(table, isMeant) {
  const selected = selectedRows_(table).filter(isMeant);
  return selected.length > 0 ? selected : allRows_(table).filter(isMeant);
}

/**
 * Choose, of the rows that an order may be about, those to start. Call it under the lock.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Order} order
 * @param {?Plan} agreed what the person agreed to: then only those rows, as far as they are as they were
 * @return {Plan}
 */
function plan_(sheet, order, agreed) {
  const table = readTable_(sheet);
  const { columns, values, shown } = table;
  /** @type {Plan} */
  const plan = { rows: [], columns, fresh: 0, again: 0, retried: 0, hidden: 0, underWay: 0, changed: 0, ticked: [] };
  const prints = agreed && new Map(agreed.rows.map((row) => [row.row, row.print]));
  const beingSent = beingSent_(table);
  // What the person agreed to was visible then; asking costs a call a row.
  const isHidden = (/** @type {number} */ row) => !agreed && sheet.isRowHiddenByFilter(row);
  const candidates = agreed ? agreed.rows.map(({ row }) => row).filter((row) => row <= shown.length) : order.candidates(table);
  for (const row of candidates) {
    const status = statusOf_(table, row);
    const wish = readWish_(columns, values[row - 1], shown[row - 1]);
    if (!wish || !order.wants(status)) continue;
    const print = JSON.stringify([status, wish]);
    if (UNDER_WAY_.includes(status) || beingSent(row)) plan.underWay++;
    else if (isHidden(row)) plan.hidden++;
    else if (!prints || prints.get(row) === print) {
      const before = values[row - 1][columns.ours.status];
      plan.rows.push({ key: '', row, before, wish, text: '', print });
      if (status === 'done') plan.again++;
      else if (FAILED_.includes(status)) plan.retried++;
      else plan.fresh++;
      if (columns.ours.run !== undefined && values[row - 1][columns.ours.run] === true) plan.ticked.push(row);
    }
  }
  if (agreed) {
    plan.changed = agreed.rows.length - plan.rows.length - plan.underWay - plan.hidden;
    plan.hidden += agreed.hidden;
    plan.underWay += agreed.underWay;
  }
  keepFormulas_(sheet, plan);
  return plan;
}

/**
 * Make what Status held fit to be written back: a formula as the formula, text as text.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Plan} plan
 */
function keepFormulas_(sheet, plan) {
  if (plan.rows.length === 0) return;
  const first = plan.rows[0].row;
  const height = plan.rows[plan.rows.length - 1].row - first + 1;
  const formulas = sheet.getRange(first, plan.columns.ours.status + 1, height, 1).getFormulas();
  for (const row of plan.rows) {
    const formula = formulas[row.row - first][0];
    const looksTyped = typeof row.before === 'string' && /^[=+\-@']/.test(row.before);
    row.before = formula || (looksTyped ? `'${row.before}` : row.before);
  }
}

/**
 * Say whether a person must be asked first: many rows, or pictures that are there already.
 *
 * @param {Plan} plan
 * @return {boolean}
 */
function needsAsking_(plan) {
  return plan.rows.length > ASK_ABOVE_ || plan.again > 0;
}

/**
 * Ask before something large.
 *
 * @param {Plan} plan
 * @return {string} such as "38 rows: 30 new, 6 again, 2 skipped (hidden). Start 36 rows now?"
 */
function question_(plan) {
  const { fresh, again, retried } = plan;
  const skipped = skipped_(plan);
  const parts = [[fresh, 'new'], [again, 'again'], [retried, 'retried']]
    .filter(([number]) => Number(number) > 0)
    .map(([number, word]) => `${number_(Number(number))} ${word}`);
  const all = plan.rows.length + plan.hidden + plan.underWay;
  const warning = again > 0 ? ' "Again" are rows that are done: their result is replaced by the new one.' : '';
  return `${count_(all, 'row')}: ${[...parts, ...skipped].join(', ')}.${warning} Start ${count_(plan.rows.length, 'row')} now?`;
}

/**
 * Say which rows are left out.
 *
 * @param {Plan} plan
 * @return {string[]} nothing, or one text such as "3 skipped (2 hidden, 1 already under way)"
 */
function skipped_({ hidden, underWay, changed }) {
  /** @type {[number, string][]} */
  const all = [[hidden, 'hidden'], [underWay, 'already under way'], [changed, 'changed meanwhile']];
  const some = all.filter(([number]) => number > 0);
  if (some.length === 0) return [];
  if (some.length === 1) return [`${number_(some[0][0])} skipped (${some[0][1]})`];
  const each = some.map(([number, why]) => `${number_(number)} ${why}`).join(', ');
  return [`${number_(hidden + underWay + changed)} skipped (${each})`];
}

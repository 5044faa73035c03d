/**
 * From what is selected to row numbers, and from row numbers to as few writes as possible.
 */

/**
 * Turn a selection into row numbers: ranges may overlap, hold the header, and reach beyond the data.
 *
 * @param {?SpreadsheetApp.RangeList} selection null when nothing is selected
 * @param {number} lastRow the last row with data
 * @return {number[]} ascending, each once, 1-based, without the header
 */
function selectedRows_(selection, lastRow) {
  /** @type {Set<number>} */
  const rows = new Set();
  for (const range of selection ? selection.getRanges() : []) {
    const end = Math.min(range.getLastRow(), lastRow);
    for (let row = Math.max(range.getRow(), 2); row <= end; row++) rows.add(row);
  }
  return [...rows].sort((a, b) => a - b);
}

/**
 * @typedef {object} CellWrite
 * @property {number} row 1-based
 * @property {*} value
 */

/**
 * Write cells of one column, contiguous rows in one call each.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based place of the column
 * @param {CellWrite[]} writes ascending by row
 * @param {string} [format] number format to set first; '@' keeps text as it is
 */
function writeColumn_(sheet, at, writes, format) {
  for (let start = 0, end; start < writes.length; start = end) {
    end = start + 1;
    while (end < writes.length && writes[end].row === writes[end - 1].row + 1) end++;
    const range = sheet.getRange(writes[start].row, at + 1, end - start, 1);
    if (format) range.setNumberFormat(format);
    range.setValues(writes.slice(start, end).map(({ value }) => [value]));
  }
}

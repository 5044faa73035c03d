/**
 * Set up this sheet: add what is missing, leave the rest alone. May be run again at any time.
 */

/** Headers of a new sheet, in this order; the parameters among them are examples. */
const NEW_SHEET_ = [
  'Prompt', 'Workflow', 'Steps', 'CFG', 'Width', 'Height', 'Seed',
  'Status', 'Preview', 'Output URL', 'Started at', 'Finished at', 'Error', 'Job ID',
];

/** Widths in pixels of the columns we add; others keep Sheets' own. @type {Object<string, number>} */
const WIDTHS_ = { 'Prompt': 320, 'Preview': 140, 'Output URL': 200, 'Started at': 140, 'Finished at': 140, 'Error': 240, 'Job ID': 120 };

/** Columns whose cells are plain text from the start: "+1girl" is a prompt, no formula. */
const TEXT_COLUMNS_ = ['Prompt', 'Error', 'Job ID'];

/** Height in pixels of a row with a preview. */
const PREVIEW_HEIGHT_ = 96;

/**
 * Make the active tab ready.
 *
 * @return {string} what was done
 */
function setUp_() {
  return prepareSheet_(SpreadsheetApp.getActiveSheet(), true);
}

/**
 * Add what is missing.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {boolean} run whether to add the column of checkboxes
 * @return {string} what was done
 */
function prepareSheet_(sheet, run) {
  return underLock_(() => {
    const added = missingHeaders_(sheet);
    addHeaders_(sheet, added);
    const froze = sheet.getFrozenRows() === 0;
    if (froze) sheet.setFrozenRows(1);
    SpreadsheetApp.flush();
    const done = [];
    if (added.length > 0) done.push(`added ${added.join(', ')}`);
    if (froze) done.push('froze row 1');
    return done.length > 0 ? `This sheet is ready: ${done.join('; ')}.` : 'This sheet is ready: nothing was missing.';
  });
}

/**
 * Name the headers to add: all of them on an empty sheet, else those of our columns that are not there under any alias.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {string[]}
 */
function missingHeaders_(sheet) {
  const { ours, inputs } = readColumns_(sheet);
  if (Object.keys(ours).length === 0 && inputs.length === 0) return NEW_SHEET_;
  const names = Object.keys(OUR_COLUMNS_).filter((name) => !(name in ours) && !OPTIONAL_COLUMNS_.includes(name));
  return names.map((name) => OUR_COLUMNS_[name][0]);
}

/**
 * Write headers to the right of everything the sheet holds.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {string[]} headers
 */
function addHeaders_(sheet, headers) {
  if (headers.length === 0) return;
  const first = sheet.getLastColumn() + 1;
  const lacking = first + headers.length - 1 - sheet.getMaxColumns();
  if (lacking > 0) sheet.insertColumnsAfter(sheet.getMaxColumns(), lacking);
  sheet.getRange(1, first, 1, headers.length).setValues([headers]).setFontWeight('bold');
  const below = sheet.getMaxRows() - 1;
  headers.forEach((header, at) => {
    if (header in WIDTHS_) sheet.setColumnWidth(first + at, WIDTHS_[header]);
    if (below > 0 && TEXT_COLUMNS_.includes(header)) sheet.getRange(2, first + at, below, 1).setNumberFormat('@');
  });
  if (below > 0 && headers.includes('Preview')) sheet.setRowHeights(2, below, PREVIEW_HEIGHT_);
}

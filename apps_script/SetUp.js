/**
 * Set up this sheet: add what is missing, leave the rest alone. May be run again at any time, and works without a
 * connection as far as it can.
 */

/** Headers of a new sheet, in this order; the parameters among them are examples. */
const NEW_SHEET_ = [
  'Prompt', 'Workflow', 'Steps', 'CFG', 'Width', 'Height', 'Seed',
  'Status', 'Preview', 'Output URL', 'Started at', 'Finished at', 'Error', 'Job ID',
];

/** What the first row of a new sheet asks for. */
const SAMPLE_PROMPT_ = 'A red fox in fresh snow, morning light';

/** Widths in pixels of the columns we add; others keep Sheets' own. @type {Object<string, number>} */
const WIDTHS_ = { 'Prompt': 320, 'Preview': 140, 'Output URL': 200, 'Started at': 140, 'Finished at': 140, 'Error': 240, 'Job ID': 120, 'Run': 50 };

/** Columns whose cells are plain text from the start: "+1girl" is a prompt, no formula. */
const TEXT_COLUMNS_ = ['Prompt', 'Error', 'Job ID'];

/** Height in pixels of a row with a preview. */
const PREVIEW_HEIGHT_ = 96;

const ASK_RUN_ = 'Add a column of checkboxes called Run? With auto mode on, a ticked row starts within a minute, also from a phone. Without it rows start from this menu, or by setting Status to pending.';

const ASK_IMAGES_ = 'Let this spreadsheet show pictures from the net? Sheets shows a preview only after that was allowed once. It counts for the whole spreadsheet and for everybody who uses it, also for formulas that fetch other things (IMPORTDATA and the like), and it cannot be undone. No leaves it as it is: each preview shows an error until somebody presses "Allow access".';

const ASK_COLUMNS_ = 'Add the parameter columns of a workflow now? A list of the workflows opens.';

/**
 * Make the active tab ready, asking first for what not everybody wants.
 *
 * @return {string} what was done
 */
function setUp_() {
  const sheet = SpreadsheetApp.getActiveSheet();
  const kept = kept_();
  const connection = connectionOf_(kept);
  const run = !('run' in readColumns_(sheet).ours) && agrees_(ASK_RUN_);
  const images = connection !== null && !kept.imagesAsked && agrees_(ASK_IMAGES_);
  const { catalog, trouble } = connection ? tryCatalog_(connection) : { catalog: [], trouble: 'not connected yet' };
  const said = [prepareSheet_(sheet, run, catalog)];
  if (trouble) said.push(`No dropdowns for workflows and parameters: ${trouble.replace(/\.$/, '')}.`);
  if (connection && !trouble) said.push(prepareByService_(connection, kept, images));
  if (catalog.length > 0 && agrees_(ASK_COLUMNS_)) showColumns_();
  return said.filter(Boolean).join(' ');
}

/**
 * Read the catalog, and be content without it.
 *
 * @param {Connection} connection
 * @return {{catalog: Workflow[], trouble: string}}
 */
function tryCatalog_(connection) {
  try {
    return { catalog: readCatalog_(connection), trouble: '' };
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    return { catalog: [], trouble: error.message };
  }
}

/**
 * Let the service do what a script cannot: filter views, and opening the gate for pictures.
 *
 * @param {Connection} connection
 * @param {Kept} kept
 * @param {boolean} images whether to open the gate
 * @return {string} what went wrong, or ''
 */
function prepareByService_(connection, kept, images) {
  if (!images && !kept.imagesAsked) rememberImages_('no');
  try {
    const { state, message } = runErrand_(connection, 'prepare', images);
    if (state === 'done' && images) rememberImages_('yes');
    return state === 'done' ? '' : `No filter views yet: ${message}`;
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    return `No filter views yet: ${error.message}`;
  }
}

/**
 * Add what is missing.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {boolean} run whether to add the column of checkboxes
 * @param {Workflow[]} catalog
 * @return {string} what was done
 */
function prepareSheet_(sheet, run, catalog) {
  return underLock_(() => {
    const isNew = sheet.getLastColumn() === 0;
    const added = [...missingHeaders_(sheet), ...(run ? [OUR_COLUMNS_.run[0]] : [])];
    addHeaders_(sheet, added);
    if (isNew) addSample_(sheet, catalog);
    const done = added.length > 0 ? [`added ${added.join(', ')}`] : [];
    const faults = dressSheet_(sheet, catalog, done);
    const ready = done.length > 0 ? `This sheet is ready: ${done.join('; ')}.` : 'This sheet is ready: nothing was missing.';
    return [ready, ...faults].join(' ');
  });
}

/**
 * Put on a sheet all that is around its cells. What one part meets, such as a range that somebody locked, does not stop
 * the others.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Workflow[]} catalog
 * @param {string[]} done takes what is worth telling
 * @return {string[]} what did not work, in sentences
 */
function dressSheet_(sheet, catalog, done) {
  const columns = readColumns_(sheet);
  /** @type {[string, () => void][]} */
  const parts = [
    ['Freezing row 1', () => freeze_(sheet, done)],
    ['Dropdowns', () => setRules_(sheet, columns, catalog)],
    ['Notes on headers', () => explainHeaders_(sheet, columns, catalog)],
    ['Colours', () => setColours_(sheet, columns)],
    ['Warnings on our columns', () => guardColumns_(sheet, columns)],
    ['Marks for renamed headers', () => markColumns_(sheet, columns)],
    ['The filter', () => setFilter_(sheet)],
  ];
  const faults = [];
  for (const [what, work] of parts) {
    try {
      work();
      SpreadsheetApp.flush();
    } catch (error) {
      console.warn(`${what}: ${error.stack}`);
      faults.push(`${what}: ${error.message.replace(/\.$/, '')}.`);
    }
  }
  return faults;
}

/**
 * Freeze header row and first column, where nothing is frozen.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {string[]} done
 */
function freeze_(sheet, done) {
  if (sheet.getFrozenRows() === 0) {
    sheet.setFrozenRows(1);
    done.push('froze row 1');
  }
  if (sheet.getFrozenColumns() === 0 && sheet.getMaxColumns() > 1) sheet.setFrozenColumns(1);
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

/**
 * Give a new sheet a row to begin with.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Workflow[]} catalog
 */
function addSample_(sheet, catalog) {
  if (sheet.getMaxRows() < 2) return;
  const workflow = catalog.find(({ parameters }) => parameters.some(({ name }) => name === 'prompt'));
  sheet.getRange(2, 1, 1, 2).setValues([[SAMPLE_PROMPT_, workflow ? workflow.id : '']]);
}

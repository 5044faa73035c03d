/**
 * Dropdowns, number rules and notes. They help and warn; nothing that somebody types is rejected, and a rule that
 * somebody made stays. Ours are known by their help text.
 */

/** What the help text of our rules begins with. */
const OUR_RULE_ = 'ComfySheet: ';

/** How many items a dropdown can have. */
const MAX_CHOICES_ = 500;

/** What Status may say. */
const STATUSES_ = ['pending', 'queued', 'processing', 'done', 'error', 'cancelled'];

/** What our columns are for. @type {Object<string, string>} */
const COLUMN_NOTES_ = {
  prompt: 'What the picture shows.',
  workflow: 'Which workflow renders this row: its id or its name.',
  seed: 'The same seed and settings give the same picture. Blank or "random" draws one, and the service writes it here.',
  status: 'How far the row is: pending, queued, processing, done, error or cancelled. Rows that are blank or pending are started by ComfySheet > Generate all pending, and pending ones by auto mode.',
  preview: 'A small picture of the result. The service writes it.',
  outputUrl: 'The result. The service writes it.',
  startedAt: 'When a worker began. The service writes it.',
  finishedAt: 'When the result was there. The service writes it.',
  error: 'What went wrong, in a sentence; point at the cell for the details. The service writes it.',
  jobId: 'Ties this row to its job, wherever the row is moved to. Leave it alone: without it the result finds no row.',
  run: 'Tick it and, with auto mode on, the row starts within a minute. This also works on a phone.',
  submittedBy: 'Who started the row last.',
};

/**
 * Give a column its whole length below the header.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based
 * @return {SpreadsheetApp.Range}
 */
function below_(sheet, at) {
  return sheet.getRange(2, at + 1, Math.max(sheet.getMaxRows() - 1, 1), 1);
}

/**
 * Put rules on the columns that have something to choose from or bounds.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Columns} columns
 * @param {Workflow[]} catalog
 */
function setRules_(sheet, columns, catalog) {
  const { workflow, status, run } = columns.ours;
  if (status !== undefined) setRule_(sheet, status, listRule_(STATUSES_, 'how far the row is. Choose pending to have it started.'));
  if (run !== undefined) {
    const box = SpreadsheetApp.newDataValidation().requireCheckbox().setHelpText(`${OUR_RULE_}tick to start this row.`);
    setRule_(sheet, run, box.build());
  }
  if (workflow !== undefined && catalog.length > 0 && catalog.length <= MAX_CHOICES_) {
    const names = catalog.map(({ id, name }) => `${id} = ${name}`).join('; ');
    setRule_(sheet, workflow, listRule_(catalog.map(({ id }) => id), `which workflow renders this row. ${names}`));
  }
  for (const { header, at } of columns.inputs) {
    const rule = ruleFor_(header, meaningsOf_(catalog, header));
    if (rule) setRule_(sheet, at, rule);
  }
}

/**
 * Put a rule on a column, unless somebody's own is there.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {number} at 0-based
 * @param {SpreadsheetApp.DataValidation} rule
 */
function setRule_(sheet, at, rule) {
  const cells = below_(sheet, at);
  const present = cells.getDataValidation();
  if (present === null || String(present.getHelpText()).startsWith(OUR_RULE_)) cells.setDataValidation(rule);
}

/**
 * Make a dropdown that lets anything through.
 *
 * @param {string[]} choices
 * @param {string} help
 * @return {SpreadsheetApp.DataValidation}
 */
function listRule_(choices, help) {
  return SpreadsheetApp.newDataValidation().requireValueInList(choices, true).setAllowInvalid(true).setHelpText(short_(OUR_RULE_ + help)).build();
}

/**
 * Make the rule for a parameter's column. The workflows of one tab may differ: what one of them takes is no fault.
 *
 * @param {string} header
 * @param {Parameter[]} meanings
 * @return {?SpreadsheetApp.DataValidation} null when nothing can be said
 */
function ruleFor_(header, meanings) {
  if (meanings.length === 0) return null;
  const help = `${header}. ${meanings.length === 1 ? hintOf_(meanings[0]) : meanings[0].description || ''}`;
  if (meanings.every(({ choices }) => choices !== undefined && choices.length > 0)) {
    const presets = meanings.map((one) => one.default).filter((preset) => typeof preset === 'string' && preset !== '');
    const choices = [...new Set([...presets, ...meanings.flatMap(({ choices: some }) => some || [])])];
    return choices.length <= MAX_CHOICES_ ? listRule_(choices, help) : null;
  }
  if (meanings.every(({ type, min, max }) => ['integer', 'float'].includes(type) && min !== undefined && max !== undefined)) {
    const low = Math.min(...meanings.map(({ min }) => Number(min)));
    const high = Math.max(...meanings.map(({ max }) => Number(max)));
    const rule = SpreadsheetApp.newDataValidation().requireNumberBetween(low, high).setAllowInvalid(true);
    return rule.setHelpText(short_(`${OUR_RULE_}${header} goes from ${low} to ${high}. ${meanings[0].description || ''}`.trim())).build();
  }
  return null;
}

/**
 * Cut a text to what a help text can show.
 *
 * @param {string} text
 * @return {string}
 */
function short_(text) {
  return text.length > 250 ? `${text.slice(0, 249)}…` : text;
}

/**
 * Explain headers in notes; a note that is there stays.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Columns} columns
 * @param {Workflow[]} catalog
 */
function explainHeaders_(sheet, columns, catalog) {
  const width = sheet.getLastColumn();
  const present = sheet.getRange(1, 1, 1, width).getNotes()[0];
  const explain = (/** @type {number} */ at, /** @type {string} */ note) => {
    if (note && !present[at]) sheet.getRange(1, at + 1).setNote(note);
  };
  for (const name of Object.keys(columns.ours)) explain(columns.ours[name], COLUMN_NOTES_[name]);
  for (const { header, at } of columns.inputs) {
    const [meaning] = meaningsOf_(catalog, header);
    if (meaning && !Object.values(columns.ours).includes(at)) explain(at, `${kindOf_(meaning)}. ${hintOf_(meaning)}`.trim());
  }
}

/**
 * Columns are found by their header, in any order and any case, never by their place.
 *
 * A header that somebody renamed is found by the mark that "Set up this sheet" put on its column. The header's text
 * wins: whoever types "Status" over another column means that one from now on.
 */

/**
 * Our columns: the header that the set-up writes, then the aliases that are understood too.
 *
 * @type {Object<string, string[]>}
 */
const OUR_COLUMNS_ = {
  prompt: ['Prompt', 'positive prompt', 'positive', 'text'],
  workflow: ['Workflow', 'workflow id', 'template'],
  seed: ['Seed'],
  status: ['Status', 'state'],
  preview: ['Preview', 'thumbnail', 'picture'],
  outputUrl: ['Output URL', 'output', 'output link', 'result', 'result url'],
  startedAt: ['Started at', 'started', 'start time'],
  finishedAt: ['Finished at', 'finished', 'completed at', 'end time'],
  error: ['Error', 'error message', 'message'],
  jobId: ['Job ID', 'job', 'jobid'],
  run: ['Run'],
  submittedBy: ['Submitted by'],
};

/** Which of our columns are inputs all the same: the person writes them. */
const OUR_INPUTS_ = ['prompt', 'seed'];

/** Which of our columns a sheet need not have; the set-up does not add them unasked. */
const OPTIONAL_COLUMNS_ = ['run', 'submittedBy'];

/** The key of the mark that names a column of ours whatever its header says. */
const COLUMN_MARK_ = 'comfysheet-column';

/**
 * @typedef {object} Columns
 * @property {Object<string, number>} ours 0-based place of each of our columns that the sheet has
 * @property {{header: string, at: number}[]} inputs the columns whose cells are sent, left to right
 */

/**
 * Fold a header to what is compared.
 *
 * @param {*} header
 * @return {string} lower case, runs of spaces, underscores and hyphens as one space
 */
function foldHeader_(header) {
  return String(header).replace(/[\s_-]+/g, ' ').trim().toLowerCase();
}

/**
 * Find out which of our columns a header names.
 *
 * @param {string} header
 * @return {string|undefined} undefined for none of ours
 */
function nameOfHeader_(header) {
  const word = foldHeader_(header);
  return Object.keys(OUR_COLUMNS_).find((name) => OUR_COLUMNS_[name].some((known) => foldHeader_(known) === word));
}

/**
 * Find out what each column is. Of two headers for the same column of ours the left one counts, as it does in the API;
 * the other one is neither ours nor an input.
 *
 * @param {string[]} headers the shown text of row 1
 * @param {() => Object<string, number>} [marks] gives places by name, as the marks say; asked only when needed
 * @return {Columns}
 */
function findColumns_(headers, marks) {
  const names = headers.map(nameOfHeader_);
  /** @type {Columns} */
  const columns = { ours: {}, inputs: [] };
  names.forEach((name, at) => {
    if (name !== undefined && !(name in columns.ours)) columns.ours[name] = at;
  });
  const missing = Object.keys(OUR_COLUMNS_).filter((name) => !(name in columns.ours));
  if (marks && missing.some((name) => !OPTIONAL_COLUMNS_.includes(name))) {
    const marked = marks();
    for (const name of missing) {
      if (name in marked && names[marked[name]] === undefined) columns.ours[name] = marked[name];
    }
  }
  const ourPlaces = new Map(Object.keys(columns.ours).map((name) => [columns.ours[name], name]));
  headers.forEach((header, at) => {
    const name = ourPlaces.get(at);
    if (name !== undefined) {
      // A renamed header goes by the name that the API knows.
      const word = names[at] === undefined ? OUR_COLUMNS_[name][0] : header.trim();
      if (OUR_INPUTS_.includes(name)) columns.inputs.push({ header: word, at });
    } else if (names[at] === undefined && header.trim() !== '') {
      columns.inputs.push({ header: header.trim(), at });
    }
  });
  return columns;
}

/**
 * Read row 1 of a sheet as it is now.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {Columns}
 */
function readColumns_(sheet) {
  const width = sheet.getLastColumn();
  const headers = width === 0 ? [] : sheet.getRange(1, 1, 1, width).getDisplayValues()[0];
  return findColumns_(headers, () => readMarks_(sheet));
}

/**
 * Read the marks on a sheet's columns.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {Object<string, number>} 0-based places by name; the left one of two
 */
function readMarks_(sheet) {
  /** @type {Object<string, number>} */
  const places = {};
  for (const mark of columnMarks_(sheet)) {
    const name = mark.getValue();
    const column = mark.getLocation().getColumn();
    if (!name || !column) continue;
    const at = column.getColumn() - 1;
    if (!(name in places) || at < places[name]) places[name] = at;
  }
  return places;
}

/**
 * Find the marks themselves.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {SpreadsheetApp.DeveloperMetadata[]}
 */
function columnMarks_(sheet) {
  return sheet.createDeveloperMetadataFinder().withKey(COLUMN_MARK_).find();
}

/**
 * Name what submitting cannot do without and the sheet does not have.
 *
 * @param {Columns} columns
 * @return {string[]} headers
 */
function missingColumns_(columns) {
  return ['status', 'jobId'].filter((name) => !(name in columns.ours)).map((name) => OUR_COLUMNS_[name][0]);
}

/**
 * Name a column as Sheets does.
 *
 * @param {number} at 0-based
 * @return {string} such as A or AB
 */
function columnName_(at) {
  return (at >= 26 ? columnName_(Math.floor(at / 26) - 1) : '') + String.fromCharCode(65 + (at % 26));
}

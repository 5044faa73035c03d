/**
 * The workflows that the API offers, and what a header means to them.
 */

/**
 * @typedef {object} Parameter
 * @property {string} name
 * @property {string} type
 * @property {string} [label]
 * @property {string[]} [aliases]
 * @property {string} [description]
 * @property {any} [default]
 * @property {boolean} [required]
 * @property {number} [min]
 * @property {number} [max]
 * @property {string[]} [choices] absent also when no live worker says what it has
 */

/**
 * @typedef {object} Workflow
 * @property {string} id
 * @property {string} name
 * @property {string} [description]
 * @property {Parameter[]} parameters
 */

/** What a parameter's type is called; any other is the name of a file on the worker. @type {Object<string, string>} */
const TYPES_ = {
  string: 'text', integer: 'whole number', float: 'number', boolean: 'TRUE or FALSE', choice: 'one of a list', seed: 'seed', size: 'size', color: 'colour',
  image: 'picture', mask: 'mask', audio: 'sound', video: 'video',
};

/** How many choices a note names. */
const NAMED_CHOICES_ = 12;

/**
 * Read the catalog.
 *
 * @param {Connection} connection
 * @return {Workflow[]}
 */
function readCatalog_(connection) {
  const answer = callApiPatiently_(connection, 'get', '/v1/sheets/workflows', '', ({ content }) => content !== null);
  if (answer.code !== 200 || answer.content === null) throw new ForPerson_(reasonOf_(answer));
  return answer.content.workflows || [];
}

/**
 * Give the header that a parameter's column gets.
 *
 * @param {Parameter} parameter
 * @return {string}
 */
function titleOfParameter_({ name, label }) {
  const words = name.replace(/_/g, ' ');
  return label || words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Give every folded header that means a parameter.
 *
 * @param {Parameter} parameter
 * @return {string[]}
 */
function wordsOfParameter_(parameter) {
  return [parameter.name, titleOfParameter_(parameter), ...(parameter.aliases || [])].map(foldHeader_);
}

/**
 * Find all that a header means, one for each workflow that knows it.
 *
 * @param {Workflow[]} catalog
 * @param {string} header
 * @return {Parameter[]}
 */
function meaningsOf_(catalog, header) {
  const word = foldHeader_(header);
  return catalog.flatMap(({ parameters }) => parameters.filter((parameter) => wordsOfParameter_(parameter).includes(word)));
}

/**
 * Name the columns that a workflow can use and a tab lacks.
 *
 * @param {Workflow} workflow
 * @param {Columns} columns
 * @return {string[]} headers
 */
function missingParameters_(workflow, columns) {
  const present = new Set(columns.inputs.map(({ header }) => foldHeader_(header)));
  for (const name of OUR_INPUTS_) {
    if (name in columns.ours) OUR_COLUMNS_[name].forEach((word) => present.add(foldHeader_(word)));
  }
  return workflow.parameters.filter((parameter) => !wordsOfParameter_(parameter).some((word) => present.has(word))).map(titleOfParameter_);
}

/**
 * Say what may stand in a parameter's cells.
 *
 * @param {Parameter} parameter
 * @return {string} such as "More steps are slower and finer. 1 to 150. Blank means 20."
 */
function hintOf_(parameter) {
  const { description, min, max, choices, required, default: preset } = parameter;
  const parts = description ? [description] : [];
  if (min !== undefined && max !== undefined) parts.push(`${min} to ${max}.`);
  if (choices && choices.length > 0) {
    const more = choices.length > NAMED_CHOICES_ ? ` and ${number_(choices.length - NAMED_CHOICES_)} more` : '';
    parts.push(`One of ${choices.slice(0, NAMED_CHOICES_).join(', ')}${more}.`);
  }
  if (required && (preset === undefined || preset === null)) parts.push('Must be filled in.');
  else if (preset !== undefined && preset !== null && preset !== '') parts.push(`Blank means ${preset}.`);
  return parts.join(' ');
}

/**
 * Say what kind of value a parameter takes.
 *
 * @param {Parameter} parameter
 * @return {string}
 */
function kindOf_({ type }) {
  return TYPES_[type] || 'file name';
}

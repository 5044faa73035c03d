/**
 * What a row asks for.
 */

/** What a cell shows when its formula failed. */
const FORMULA_ERROR_ = /^#(NULL!|DIV\/0!|VALUE!|REF!|NAME\?|NUM!|N\/A|ERROR!)$/;

/** One half of a pair of UTF-16 units: a picture character that something cut in two. */
const HALF_CHARACTER_ = /[\ud800-\udbff](?![\udc00-\udfff])|(?:[^\ud800-\udbff]|^)[\udc00-\udfff]/;

/**
 * @typedef {object} Wish
 * @property {string} workflow
 * @property {Object<string, string|number|boolean>} inputs by header as typed
 */

/**
 * Read what one row asks for.
 *
 * @param {Columns} columns
 * @param {Array<*>} values the row's values
 * @param {string[]} shown the row's shown texts
 * @return {?Wish} null for a blank row: nothing in it, or only boxes that are not ticked
 */
function readWish_(columns, values, shown) {
  const { prompt, workflow } = columns.ours;
  /** @type {Object<string, string|number|boolean>} */
  const inputs = Object.create(null);
  for (const { header, at } of columns.inputs) {
    if (shown[at].trim() === '' || header in inputs) continue;
    const asShown = at === prompt || values[at] instanceof Date;
    inputs[header] = asShown ? shown[at] : values[at];
  }
  const template = workflow === undefined ? '' : shown[workflow].trim();
  const filled = Object.keys(inputs).some((header) => inputs[header] !== false);
  return filled || template !== '' ? { workflow: template, inputs } : null;
}

/**
 * Find what would make a row fail for certain, before it is sent.
 *
 * @param {Wish} wish
 * @return {?string} a sentence for the row's Error cell, or null
 */
function faultOf_(wish) {
  const texts = Object.assign(Object.create(null), wish.inputs, { Workflow: wish.workflow });
  for (const header of Object.keys(texts)) {
    const text = String(texts[header]);
    if (FORMULA_ERROR_.test(text)) return `${header} shows ${text}. Mend the formula in that cell, then generate again.`;
    if (HALF_CHARACTER_.test(text)) return `${header} holds half of a cut emoji. Type that text again, then generate again.`;
  }
  return null;
}

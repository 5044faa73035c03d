/**
 * A row's colour says its Status: faint, over the whole row, with dark text whatever the theme.
 */

/** Background by Status; what waits to be started is plain. @type {Object<string, string>} */
const ROW_COLOURS_ = { queued: '#e8f0fe', processing: '#fef7e0', done: '#e6f4ea', error: '#fce8e6', cancelled: '#f1f3f4' };

/** The text on all of them; its contrast is above 12:1. */
const TEXT_COLOUR_ = '#202124';

/** What our rules look like, whatever column Status was in. */
const OUR_COLOUR_ = /^=\$[A-Z]+2="(queued|processing|done|error|cancelled)"$/;

/**
 * Colour the rows. Rules of ours are made anew; those that somebody made come first and stay.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Columns} columns
 */
function setColours_(sheet, columns) {
  const { status } = columns.ours;
  if (status === undefined || sheet.getMaxRows() < 2) return;
  const others = sheet.getConditionalFormatRules().filter((rule) => !isOurColour_(rule));
  const cells = sheet.getRange(2, 1, sheet.getMaxRows() - 1, sheet.getLastColumn());
  const ours = Object.keys(ROW_COLOURS_).map((word) => SpreadsheetApp.newConditionalFormatRule()
    .whenFormulaSatisfied(`=$${columnName_(status)}2="${word}"`)
    .setBackground(ROW_COLOURS_[word])
    .setFontColor(TEXT_COLOUR_)
    .setRanges([cells])
    .build());
  sheet.setConditionalFormatRules([...others, ...ours]);
}

/**
 * Say whether a rule is one of ours.
 *
 * @param {SpreadsheetApp.ConditionalFormatRule} rule
 * @return {boolean}
 */
function isOurColour_(rule) {
  const condition = rule.getBooleanCondition();
  if (!condition || condition.getCriteriaType() !== SpreadsheetApp.BooleanCriteria.CUSTOM_FORMULA) return false;
  return OUR_COLOUR_.test(String(condition.getCriteriaValues()[0]));
}

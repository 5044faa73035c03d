// Decide the conditions of conditional formats and filters, in the words of the Sheets API (BooleanCondition).

import { evaluate, valueOf } from './formula.js';

const fold = (text) => text.toLowerCase();
const TEXTS = {
  TEXT_EQ: (text, wanted) => text === wanted,
  TEXT_NOT_EQ: (text, wanted) => text !== wanted,
  TEXT_CONTAINS: (text, part) => text.includes(part),
  TEXT_NOT_CONTAINS: (text, part) => !text.includes(part),
  TEXT_STARTS_WITH: (text, part) => text.startsWith(part),
  TEXT_ENDS_WITH: (text, part) => text.endsWith(part),
};
const NUMBERS = {
  NUMBER_GREATER: (value, low) => value > low,
  NUMBER_GREATER_THAN_EQ: (value, low) => value >= low,
  NUMBER_LESS: (value, high) => value < high,
  NUMBER_LESS_THAN_EQ: (value, high) => value <= high,
  NUMBER_EQ: (value, wanted) => value === wanted,
  NUMBER_NOT_EQ: (value, wrong) => value !== wrong,
  NUMBER_BETWEEN: (value, low, high) => low <= value && value <= high,
  NUMBER_NOT_BETWEEN: (value, low, high) => value < low || high < value,
};

/**
 * Say whether *condition* holds for the cell that shows *text*.
 *
 * *read(row, column)* gives the text of other cells; *down* and *right* say how far the cell is from the first cell of
 * the rule's area. A condition that is not known here does not hold.
 */
export function holds(condition, text, read = () => '', down = 0, right = 0) {
  const given = (condition.values || []).map((value) => value.userEnteredValue ?? '');
  const { type } = condition;
  if (type === 'BLANK') return text === '';
  if (type === 'NOT_BLANK') return text !== '';
  if (type === 'ONE_OF_LIST') return given.includes(text);
  if (type in TEXTS) return given.some((one) => TEXTS[type](fold(text), fold(one)));
  if (type in NUMBERS) {
    const value = valueOf(text);
    return typeof value === 'number' && NUMBERS[type](value, ...given.map(Number));
  }
  if (type === 'CUSTOM_FORMULA') {
    try {
      const result = evaluate(given[0] || '', read, down, right);
      return result === true || (typeof result === 'number' && result !== 0);
    } catch {
      return false; // what we cannot read colours nothing
    }
  }
  return false;
}

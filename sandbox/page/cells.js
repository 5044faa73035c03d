// Draw one cell: text, number, link, picture, status, checkbox, dropdown; its note and what is wrong with it.

import { app, cellName, make } from './app.js';
import { dressCell, lookOf, shown } from './looks.js';

const STATUS_WORDS = new Set(['pending', 'queued', 'processing', 'done', 'error', 'cancelled']);

export const rowOf = (cell) => cell.getRow().getData().r;
export const columnOf = (component) => Number(component.getField().slice(1));

/** Give what the formula bar shows of a cell. */
export const entered = (value) => (value ? (value.e ?? value.t) : '');

/** Give the validation rule of a cell, or null. */
export const ruleOf = (value) => (value && value.v ? app.sheet.rules[value.v] || null : null);
const kindOf = (value) => ruleOf(value)?.condition?.type || '';
export const isDropdown = (value) => kindOf(value) === 'ONE_OF_LIST' && ruleOf(value).showCustomUi !== false;
export const isCheckbox = (value) => kindOf(value) === 'BOOLEAN' && (shown(value) === '' || checkWords(value).includes(shown(value)));
export const choicesOf = (value) => (ruleOf(value)?.condition?.values || []).map((one) => one.userEnteredValue ?? '');

/** Give the words that a checkbox writes: [ticked, not ticked]. */
export function checkWords(value) {
  const own = choicesOf(value);
  return [own[0] ?? 'TRUE', own[1] ?? (own.length ? '' : 'FALSE')];
}

/** Draw a cell for Tabulator. A cell is {t text, e as entered, i picture, n note, v rule, x fault, f look}. */
export function drawCell(cell) {
  const value = cell.getValue();
  const element = cell.getElement();
  const [row, column] = [rowOf(cell), columnOf(cell)];
  const look = lookOf(row, column, value);
  dressCell(element, look);
  element.classList.toggle('noted', Boolean(value?.n));
  element.classList.toggle('invalid', Boolean(value?.x));
  element.classList.toggle('dropdown', isDropdown(value));
  describe(element, value);
  const area = app.sheet.filter;
  const inner = content(value, row, column, look);
  if (area && row === area[0] && column >= area[1] && column < area[3]) {
    const isOn = column in app.sheet.criteria;
    const funnel = make('button', {
      type: 'button', class: isOn ? 'funnel on' : 'funnel', tabindex: '-1', title: 'Filter and sort',
      'aria-label': `Filter by ${shown(value) || cellName(row, column)}`, 'aria-haspopup': 'dialog',
    });
    return make('span', { class: 'with-funnel' }, inner, funnel);
  }
  return inner;
}

/** Tell a screen reader what the corners tell the eye. */
function describe(element, value) {
  const words = [];
  if (value?.x) words.push(`Invalid: ${faultWords(value)}`);
  if (value?.n) words.push(`Note: ${value.n}`);
  if (isDropdown(value)) words.push('Has a list of choices: Alt and arrow down.');
  if (words.length) element.setAttribute('aria-description', words.join(' '));
  else element.removeAttribute('aria-description');
  if (value?.x) element.setAttribute('aria-invalid', 'true');
  else element.removeAttribute('aria-invalid');
}

/** Say what is wrong with a cell: the rule's help text where it has one. */
export const faultWords = (value) => ruleOf(value)?.inputMessage || value.x;

function content(value, row, column, look) {
  if (!value) return words('');
  if (value.i) {
    const source = `/image?url=${encodeURIComponent(value.i)}`;
    return make('img', { src: source, alt: `Preview in row ${row + 1}`, loading: 'lazy' });
  }
  if (isCheckbox(value)) {
    const box = make('input', { type: 'checkbox', tabindex: '-1', 'aria-label': cellName(row, column) });
    box.checked = shown(value) !== '' && shown(value) === checkWords(value)[0];
    return make('span', { class: 'check' }, box);
  }
  if (isDropdown(value)) {
    const arrow = make('span', { class: 'arrow', 'aria-hidden': 'true' });
    return make('span', { class: 'choice' }, textOf(value, look), arrow);
  }
  return textOf(value, look);
}

function textOf(value, look) {
  const text = value.t || '';
  if (/^https?:\/\/\S+$/.test(text)) {
    const link = make(
      'a',
      { href: text, target: '_blank', rel: 'noopener', title: text, tabindex: '-1' },
      text.replace(/^https?:\/\//, ''),
    );
    return make('span', { class: 'clip' }, link);
  }
  if (STATUS_WORDS.has(text)) return make('span', { class: look.paper ? 'chip plain' : `chip ${text}` }, text);
  const span = words(text);
  if (/^-?[\d.,]+%?$/.test(text) && !(value.e || '').startsWith("'")) span.classList.add('number');
  if (/^#(REF!|NAME\?|VALUE!|ERROR!|N\/A|DIV\/0!|NUM!|NULL!)$/.test(text)) span.classList.add('formula-error');
  return span;
}

const words = (text) => make('span', { class: 'clip' }, text);

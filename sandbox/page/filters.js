// The basic filter (for everybody) and filter views (for this tab of the browser alone).

import { $, app, cellName, make, post } from './app.js';
import { holds } from './conditions.js';
import { problem } from './dialogs.js';
import { rebuild } from './grid.js';
import { textAt } from './looks.js';
import { closePopup, pop } from './popup.js';
import { focusGrid } from './selection.js';

// ---- filter views ----------------------------------------------------------------------------------------------

/** Say whether the filter view that this page applies hides the row. */
export function isHiddenByView(row) {
  const view = app.view && app.sheet.views.find(({ id }) => id === app.view);
  if (!view) return false;
  const [top, , bottom] = view.area;
  if (row <= top || row >= bottom) return false;
  return Object.entries(view.criteria).some(([column, one]) => !passes(one, textAt(row, Number(column)), row - top - 1));
}

function passes(criteria, text, down) {
  if ((criteria.hiddenValues || []).includes(text)) return false;
  return !criteria.condition || holds(criteria.condition, text, textAt, down, 0);
}

/** Apply a filter view on this page, or none (null). */
export function applyView(id) {
  app.view = id;
  const view = app.sheet.views.find((each) => each.id === id);
  $('view-name').textContent = view ? view.title : '';
  $('view').hidden = !view;
  return rebuild();
}

/** Show the bar of the view that is applied, after the tab changed. */
export function showView() {
  const view = app.view && app.sheet.views.find(({ id }) => id === app.view);
  $('view').hidden = !view;
  $('view-name').textContent = view ? view.title : '';
}

/** Give the items of the "Filter views" menu. */
export function viewItems() {
  const views = app.sheet?.views || [];
  if (!views.length) return [{ label: 'No filter views yet', disabled: true, act: () => {} }];
  return [
    { label: 'None', checked: !app.view, act: () => applyView(null) },
    ...views.map(({ id, title }) => ({ label: title, checked: app.view === id, act: () => applyView(id) })),
  ];
}

// ---- the basic filter ------------------------------------------------------------------------------------------

async function change(what) {
  closePopup();
  focusGrid(); // now: whoever is in a menu when the answer comes stays there
  const { error } = await post('/structure', { sheet: app.sheet.id, ...what });
  if (error) await problem(error);
}

export const hasFilter = () => Boolean(app.sheet?.filter);

/** Put a filter over all data, or take the one that is there away. */
export const toggleFilter = () => change({ do: hasFilter() ? 'clear_filter' : 'set_filter' });

/** Open what a funnel offers: sort, and which values of the column show. */
export function openFilter(funnel, column) {
  const [top, , bottom] = app.sheet.filter;
  const counts = new Map();
  for (let row = top + 1; row < Math.min(bottom, app.sheet.data_rows); row++) {
    const text = textAt(row, column);
    counts.set(text, (counts.get(text) || 0) + 1);
  }
  const hiddenBefore = new Set(app.sheet.criteria?.[column]?.hiddenValues || []);
  for (const value of hiddenBefore) if (!counts.has(value)) counts.set(value, 0);
  const values = [...counts.keys()].sort((a, b) => (a === '') - (b === '') || a.localeCompare(b, undefined, { numeric: true }));
  const name = textAt(top, column) || cellName(top, column);
  const boxes = values.map((value, at) => {
    const box = make('input', { type: 'checkbox', id: `value-${at}` });
    box.checked = !hiddenBefore.has(value);
    const label = make('label', { for: `value-${at}` }, box, make('span', {}, value || '(Blanks)'), make('small', {}, String(counts.get(value))));
    return { value, box, label };
  });
  const search = make('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search values', autocomplete: 'off' });
  search.addEventListener('input', () => {
    const part = search.value.toLowerCase();
    for (const { value, label } of boxes) label.hidden = !(value || '(blanks)').toLowerCase().includes(part);
  });
  const tickAll = (ticked) => () => boxes.forEach(({ box, label }) => label.hidden || (box.checked = ticked));
  const button = (words, onclick, look = '') => make('button', { type: 'button', onclick, class: look }, words);
  const keep = () => change({ do: 'filter', at: column, hidden: boxes.filter(({ box }) => !box.checked).map(({ value }) => value) });
  const dialog = make(
    'div',
    { class: 'popup filter', role: 'dialog', 'aria-label': `Filter by ${name}` },
    button('Sort A to Z', () => change({ do: 'sort', at: column, ascending: true }), 'line'),
    button('Sort Z to A', () => change({ do: 'sort', at: column, ascending: false }), 'line'),
    make('hr'),
    make('p', {}, button('Select all', tickAll(true), 'link'), ' · ', button('Clear', tickAll(false), 'link')),
    search,
    make('div', { class: 'values', role: 'group', 'aria-label': `Values of ${name}`, tabindex: '0' }, ...boxes.map(({ label }) => label)),
    make('div', { class: 'buttons' }, button('Apply', keep), button('Cancel', () => closePopup())),
  );
  const { left, bottom: below } = funnel.getBoundingClientRect();
  pop(dialog, left, below + 4, document.querySelector('#grid .tabulator-tableholder'));
  dialog.querySelector('button').focus();
}

/** Open the filter of the column that is active, for the keyboard. */
export function openFilterAt(column) {
  const { filter } = app.sheet;
  if (!filter || column < filter[1] || column >= filter[3]) return false;
  const funnel = document.querySelector(`#grid [tabulator-field="c${column}"] .funnel`);
  openFilter(funnel || document.querySelector(`#grid .tabulator-col[tabulator-field="c${column}"]`), column);
  return true;
}


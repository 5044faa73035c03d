// How a cell looks: its own format, and the conditional formats over it.

import { app, field } from './app.js';
import { holds } from './conditions.js';

export const shown = (value) => (value ? value.t || '' : '');

/** Give the row's data by its number in the sheet; hidden rows are there too. */
export function textAt(row, column) {
  const data = app.sheet.byRow.get(row);
  return data ? shown(data[field(column)]) : '';
}

/** Give the look of a cell: {paper, ink, bold, italic, strike, align, wrap}; the first rule that holds wins a part. */
export function lookOf(row, column, value) {
  const look = { ...(value && value.f ? app.sheet.looks[value.f] : null) };
  const painted = {};
  for (const { areas, condition, look: part } of app.sheet.conditional) {
    const area = areas.find(([top, left, bottom, right]) => row >= top && row < bottom && column >= left && column < right);
    if (!area) continue;
    const [first] = areas;
    if (!holds(condition, shown(value), textAt, row - first[0], column - first[1])) continue;
    for (const [name, one] of Object.entries(part)) if (!(name in painted)) painted[name] = one;
  }
  return Object.assign(look, painted);
}

/** Dress a cell's element; the colours go through CSS, which mixes them with the paper in dark mode. */
export function dressCell(element, look) {
  for (const name of ['paper', 'ink']) {
    element.classList.toggle(`has-${name}`, Boolean(look[name]));
    if (look[name]) element.style.setProperty(`--cell-${name}`, look[name]);
    else element.style.removeProperty(`--cell-${name}`);
  }
  for (const name of ['bold', 'italic', 'strike', 'wrap']) element.classList.toggle(`is-${name}`, Boolean(look[name]));
  element.dataset.align = look.align || '';
}

// Keep the frozen rows in sight: a copy of them lies over the grid's top while they are scrolled away.
// (Tabulator's own frozen rows do not go together with range selection.)

import { app, make } from './app.js';
import { cellAt, holder } from './selection.js';

let strip = null;

/** Draw the strip, or take it away. */
export function showFrozen() {
  const body = holder();
  const rows = app.rows.filter(({ r }) => r < app.sheet.frozen);
  const height = rows.length * 25;
  if (!body || !rows.length || body.scrollTop < height / 2) {
    strip?.remove();
    strip = null;
    return;
  }
  const header = document.querySelector('#grid .tabulator-header');
  if (!strip || !strip.isConnected) {
    strip = make('div', { class: 'frozen', 'aria-hidden': 'true' });
    header.after(strip);
  }
  const tracks = [...document.querySelectorAll('#grid .tabulator-header .tabulator-col')].filter((col) => col.offsetWidth);
  strip.style.top = `${header.offsetHeight}px`;
  strip.replaceChildren(
    ...rows.map((data) => {
      const cells = tracks.map((col) => {
        const name = col.getAttribute('tabulator-field');
        const isHeader = name === 'r';
        const cell = make('div', { class: isHeader ? 'frozen-head' : 'frozen-cell' }, isHeader ? String(data.r + 1) : data[name]?.t || '');
        cell.style.width = `${col.offsetWidth}px`;
        if (!isHeader) paint(cell, data.r, name);
        return cell;
      });
      const line = make('div', { class: 'frozen-row' }, cells[0], make('div', { class: 'frozen-cells' }, ...cells.slice(1)));
      line.lastChild.style.transform = `translateX(${-body.scrollLeft}px)`;
      return line;
    }),
  );
}

/** Give the copy the look of the cell. */
function paint(copy, row, name) {
  const cell = name && cellAt(row, Number(name.slice(1)));
  const element = cell?.getElement();
  if (!element) return;
  for (const look of ['has-paper', 'has-ink', 'is-bold']) copy.classList.toggle(look, element.classList.contains(look));
  copy.style.setProperty('--cell-paper', element.style.getPropertyValue('--cell-paper'));
  copy.style.setProperty('--cell-ink', element.style.getPropertyValue('--cell-ink'));
}


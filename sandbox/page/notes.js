// Notes and faults of cells: shown beside the cell while the pointer or the selection is on it.

import { $ } from './app.js';
import { faultWords } from './cells.js';
import { activeCell, cellAt, valueAt } from './selection.js';

const WAIT_MS = 250;
let timer = 0;
let shownFor = null;

/** Show note and fault of the cell at *row*, *column* beside its element. */
function show(row, column, element) {
  const value = valueAt(row, column);
  if (!value?.n && !value?.x) return hideNote();
  $('note-fault').hidden = !value.x;
  $('note-fault-words').textContent = value.x ? faultWords(value) : '';
  $('note-words').hidden = !value.n;
  $('note-words').textContent = value.n || '';
  const box = $('note');
  box.hidden = false;
  shownFor = element;
  const { right, left, top } = element.getBoundingClientRect();
  const fits = right + box.offsetWidth + 8 < innerWidth;
  box.style.left = `${fits ? right + 2 : Math.max(4, left - box.offsetWidth - 2)}px`;
  box.style.top = `${Math.max(4, Math.min(top, innerHeight - box.offsetHeight - 8))}px`;
}

export function hideNote() {
  clearTimeout(timer);
  $('note').hidden = true;
  shownFor = null;
}

/** Show what belongs to the active cell. */
export function noteOfActive() {
  const active = activeCell();
  const cell = active && cellAt(active.row, active.column);
  const element = cell?.getElement();
  if (element?.isConnected && isSeen(element) && !document.querySelector('.choices')) show(active.row, active.column, element);
  else hideNote();
}

function isSeen(element) {
  const inside = element.closest('.tabulator-tableholder')?.getBoundingClientRect();
  const own = element.getBoundingClientRect();
  return inside && own.bottom > inside.top && own.top < inside.bottom && own.right > inside.left && own.left < inside.right;
}

/** Listen for the pointer; a note stays while one reads it. */
export function listenForNotes(grid) {
  grid.addEventListener('mouseover', (event) => {
    const element = event.target.closest('.tabulator-cell[tabulator-field^="c"]');
    clearTimeout(timer);
    if (!element || element === shownFor) return;
    timer = setTimeout(() => {
      const row = Number(element.closest('.tabulator-row')?.querySelector('.tabulator-row-header')?.textContent) - 1;
      const column = Number(element.getAttribute('tabulator-field').slice(1));
      const value = valueAt(row, column);
      // A pointer that rests on a silent cell takes nothing away from the keyboard.
      if (element.isConnected && (value?.n || value?.x)) show(row, column, element);
      else noteOfActive();
    }, WAIT_MS);
  });
  grid.addEventListener('mouseleave', ({ relatedTarget }) => {
    clearTimeout(timer);
    if (!$('note').contains(relatedTarget)) noteOfActive();
  });
  $('note').addEventListener('mouseleave', noteOfActive);
  document.addEventListener('scroll', ({ target }) => {
    if (target === $('note')) return;
    hideNote();
    clearTimeout(timer);
    timer = setTimeout(noteOfActive, WAIT_MS);
  }, true);
}

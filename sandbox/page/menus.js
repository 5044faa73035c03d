// The menu bar: Edit and Data as in Sheets, then the menus that the script adds.

import { $, app, get, make, post } from './app.js';
import { clearSelected, hasHeld, holdByMenu, paste } from './clipboard.js';
import { restructure } from './context.js';
import { problem, toast } from './dialogs.js';
import { hasFilter, toggleFilter, viewItems } from './filters.js';
import { fillMenu, menuKeys } from './popup.js';
import { activeCell, focusGrid, selectedRanges } from './selection.js';

/** Take back, or do again, this person's own last edit. */
export async function undo(again = false) {
  const { error, done } = await post(again ? '/redo' : '/undo', {});
  if (error) return problem(error);
  if (done === false) toast(again ? 'There is nothing to redo.' : 'There is nothing to undo.', again ? 'Redo' : 'Undo', 3);
}

const editItems = () => [
  { label: 'Undo', act: () => undo() },
  { label: 'Redo', act: () => undo(true) },
  null,
  { label: 'Cut', act: () => holdByMenu(true) },
  { label: 'Copy', act: () => holdByMenu(false) },
  { label: 'Paste', disabled: !hasHeld(), act: () => paste() },
  { label: 'Delete values', act: clearSelected },
];

function dataItems() {
  const at = activeCell()?.column ?? 0;
  return [
    { label: 'Sort sheet by this column, A to Z', act: () => restructure({ do: 'sort', at, ascending: true }) },
    { label: 'Sort sheet by this column, Z to A', act: () => restructure({ do: 'sort', at, ascending: false }) },
    null,
    { label: hasFilter() ? 'Remove filter' : 'Create a filter', act: toggleFilter },
  ];
}

/** Run a function of the script for what is selected. */
async function run(name) {
  focusGrid();
  const { error } = await post('/script/run', { function: name, sheet: app.sheet.id, ranges: selectedRanges() });
  if (error) toast(error, 'The script stopped', 20);
}

const scriptItems = (items) => () =>
  items.map((item) => item && { label: item.label, act: () => run(item.function) });

/** Make one menu of the bar; *items* is asked each time that it opens. */
export function makeMenu(title, items) {
  const list = make('div', { role: 'menu', 'aria-label': title, hidden: true });
  const opener = make('button', { type: 'button', 'aria-haspopup': 'menu', 'aria-expanded': 'false' }, title);
  const holder = make('div', { class: 'menu' }, opener, list);
  const toggle = (open) => {
    if (open) fillMenu(list, items(), () => toggle(false));
    list.hidden = !open;
    opener.setAttribute('aria-expanded', String(open));
    if (open) list.querySelector('button:not(:disabled)')?.focus();
  };
  opener.addEventListener('click', () => toggle(list.hidden));
  holder.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !list.hidden) {
      toggle(false);
      opener.focus();
    } else if (event.key === 'ArrowDown' && list.hidden) toggle(true);
    else if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') beside(holder, event.key === 'ArrowRight', !list.hidden);
    else if (list.hidden || !menuKeys(list, event)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener('click', (event) => holder.contains(event.target) || list.hidden || toggle(false));
  holder.addEventListener('focusout', ({ relatedTarget }) => {
    if (relatedTarget && !holder.contains(relatedTarget)) toggle(false);
  });
  return holder;
}

/** Go to the menu beside, open if this one is. */
function beside(holder, isRight, open) {
  const all = [...$('menus').children];
  const next = all[(all.indexOf(holder) + (isRight ? 1 : all.length - 1)) % all.length];
  const opener = next.querySelector('button');
  opener.focus();
  if (open) opener.click();
}

/** Draw the menu bar; the script's own menus come with onOpen. */
export async function loadMenus() {
  const own = [makeMenu('Edit', editItems), makeMenu('Data', dataItems), makeMenu('Filter views', viewItems)];
  $('menus').replaceChildren(...own);
  const menus = await get(`/menu?user=${encodeURIComponent(app.user)}`);
  if (menus.error) return toast(menus.error, 'The script does not start', 20);
  $('menus').append(...menus.map(({ title, items }) => makeMenu(title, scriptItems(items))));
}


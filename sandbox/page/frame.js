// What stands around the grid: title, tabs, the gate of pictures, what renders, the share dialog.

import { $, app, get, make, post } from './app.js';
import { ask, problem } from './dialogs.js';
import { showView } from './filters.js';
import { load, show } from './grid.js';
import { restructure } from './context.js';
import { openMenu } from './popup.js';

/** Draw the tabs at the bottom. */
export function showTabs() {
  const had = $('tabs').contains(document.activeElement);
  $('tabs').replaceChildren(
    ...app.book.tabs.map(({ id, title }) => {
      const isShown = id === app.sheet.id;
      const tab = make('button', { type: 'button', role: 'tab', 'aria-selected': String(isShown), 'aria-controls': 'grid', tabindex: isShown ? '0' : '-1' }, title);
      tab.addEventListener('click', () => show(id));
      tab.addEventListener('dblclick', () => rename(title));
      tab.addEventListener('contextmenu', (event) => {
        event.preventDefault();
        show(id).then(() => openMenu(event, tabItems(title), 'Tab'));
      });
      return tab;
    }),
  );
  if (had) $('tabs').querySelector('[aria-selected="true"]')?.focus();
}

const tabItems = (title) => [
  { label: 'Rename', act: () => rename(title) },
  { label: 'Delete', disabled: app.book.tabs.length < 2, act: remove },
];

async function rename(title) {
  const { button, text } = await ask({ title: 'Rename tab', text: 'New name', kind: 'prompt', buttons: 'OK_CANCEL', value: title });
  if (button === 'OK' && text) restructure({ do: 'rename', title: text });
}

/** Delete the shown tab after asking. */
export async function remove() {
  const { button } = await ask({ title: 'Heads up!', text: `Are you sure you want to delete the sheet ${app.sheet.title}?`, buttons: 'OK_CANCEL' });
  if (button === 'OK') restructure({ do: 'delete_sheet' });
}

async function addTab() {
  const taken = new Set(app.book.tabs.map(({ title }) => title));
  let number = app.book.tabs.length + 1;
  while (taken.has(`Sheet${number}`)) number++;
  const title = `Sheet${number}`;
  await restructure({ do: 'add_sheet', title });
  await load();
  const added = app.book.tabs.find((tab) => tab.title === title);
  if (added) await show(added.id);
}

/** Show what depends on the whole workbook. */
export function showAround() {
  $('title').textContent = app.book.title;
  $('gate').hidden = app.book.images_allowed || !app.book.wants_images;
  showView();
}

async function share() {
  const names = app.book.shared_with.join('\n') || 'nobody else';
  const { button, text } = await ask({
    title: `Share “${app.book.title}”`,
    text: `Can edit:\n${app.user}\n${names}\n\nAdd an address:`,
    kind: 'prompt',
    buttons: 'OK_CANCEL',
  });
  if (button !== 'OK' || !text.trim()) return;
  const { error } = await post('/share', { address: text.trim() });
  if (error) await problem(error);
}

/** Wire what stands around the grid. */
export function frame() {
  $('allow').addEventListener('click', () => post('/allow-images', {}).then(load));
  $('add-tab').addEventListener('click', addTab);
  $('share').addEventListener('click', share);
  $('tabs').addEventListener('keydown', (event) => {
    const tabs = [...$('tabs').children];
    const to = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!to) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + to + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  get('/about').then(({ renders_on: renders, owner }) => {
    $('renders').textContent = `Rendering on ${renders}`;
    $('me').textContent = app.user === owner ? '' : `You are ${app.user}`;
  });
}

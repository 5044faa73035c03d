// Who else has the workbook open: coloured initials above, a coloured frame around the cell that they are on.

import { $, app, make, post } from './app.js';
import { cellAt } from './selection.js';

const HUES = [265, 25, 150, 330, 200, 60, 100];
let told = '';
let timer = 0;
let framed = [];

const hueOf = (user) => HUES[[...user].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % HUES.length];

function initialsOf(user) {
  const parts = user.split('@')[0].split(/[._-]+/).filter(Boolean);
  return (parts.length > 1 ? parts[0][0] + parts[1][0] : parts[0]?.[0] || '?').toUpperCase();
}

/** Tell the others on which cell this page is; seldom enough for held arrow keys. */
export function tellPlace({ row, column }) {
  const place = JSON.stringify([app.sheet.id, row, column]);
  if (place === told) return;
  told = place;
  clearTimeout(timer);
  timer = setTimeout(() => post('/presence', { sheet: app.sheet.id, place: [row, column] }), 150);
}

/** Forget what was told: the server starts anew. */
export function tellAgain() {
  told = '';
}

/** Take in who is here: [{page, user, sheet, place}]. */
export function takePeople(people) {
  app.people = people.filter(({ page }) => page !== app.page);
  const marks = app.people.map(({ user, sheet }) => {
    const tab = app.book?.tabs.find(({ id }) => id === sheet)?.title;
    const words = tab ? `${user} is on ${tab}` : `${user} is here`;
    const mark = make('li', { title: words }, make('span', { 'aria-hidden': 'true' }, initialsOf(user)), make('span', { class: 'unseen' }, words));
    mark.style.setProperty('--hue', hueOf(user));
    return mark;
  });
  $('people').replaceChildren(...marks);
  showOthers();
}

/** Frame the cells that the others are on. */
export function showOthers() {
  for (const element of framed) {
    element.classList.remove('theirs');
    delete element.dataset.who;
  }
  framed = [];
  if (!app.table?.initialized) return;
  for (const { user, sheet, place } of app.people) {
    const cell = place && sheet === app.sheet.id && place[1] < app.sheet.cols ? cellAt(...place) : null;
    if (!cell) continue;
    const element = cell.getElement();
    element.classList.add('theirs');
    element.style.setProperty('--hue', hueOf(user));
    element.dataset.who = user;
    framed.push(element);
  }
}

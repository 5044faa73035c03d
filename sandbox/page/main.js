// Show the workbook, let a person work in it, and tell what happens. The server holds the truth; this only draws it.
//
// app.js      what all share               grid.js      the grid and its news; selection.js: what is selected
// cells.js    how a cell is drawn          looks.js     formats and conditional colours (conditions.js, formula.js)
// editor.js   typing into cells            guard.js     protected cells
// notes.js    notes and faults             filters.js   basic filter and filter views
// keys.js     keyboard and mouse           clipboard.js cut, copy, paste
// menus.js    the menu bar                 context.js   context menus (popup.js)
// dialogs.js  toasts, alerts, prompts      sidebar.js   the script's HTML (script-host.js inside the frame)
// frame.js    title, tabs, gate            frozen.js    the frozen rows
// presence.js who else is here             switches.js  the sandbox's faults

import { $, app, post } from './app.js';
import { ask, close, toast } from './dialogs.js';
import { applyView } from './filters.js';
import { frame } from './frame.js';
import { applyCells, goTo, load } from './grid.js';
import { wire } from './keys.js';
import { loadMenus } from './menus.js';
import { listenForNotes } from './notes.js';
import { takePeople, tellAgain } from './presence.js';
import { listenToFrames, showHtml } from './sidebar.js';
import { loadSwitches } from './switches.js';

let scripts = 0; // how many menu functions run

const say = () => ($('status').textContent = scripts > 0 ? 'Running script …' : 'Live');

function listen() {
  const news = new EventSource(`/events?user=${encodeURIComponent(app.user)}&page=${app.page}`);
  const on = (name, act) => news.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on('hello', async () => {
    scripts = 0;
    tellAgain();
    await load();
    say();
  });
  on('cells', applyCells);
  on('redraw', () => {
    load();
    loadSwitches();
  });
  on('toast', ({ message, title, seconds }) => toast(message, title, seconds));
  on('ask', async (question) => post('/dialog', { id: question.id, ...(await ask(question)) }));
  on('answered', ({ id }) => close(id));
  on('html', showHtml);
  on('select', ({ sheet, ranges }) => goTo(sheet, ranges));
  on('presence', takePeople);
  on('switches', loadSwitches);
  on('script', ({ running }) => {
    scripts += running ? 1 : -1;
    say();
  });
  news.onerror = () => {
    $('status').textContent = 'Not connected; trying again …';
    scripts = 0;
  };
}

$('view-close').addEventListener('click', () => applyView(null));
frame();
wire();
listenToFrames();
listenForNotes($('grid'));
loadMenus();
loadSwitches();
listen();

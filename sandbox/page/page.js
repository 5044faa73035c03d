// Show the workbook, let a person work in it, and tell what happens. The server holds the truth; this only draws it.

const $ = (id) => document.getElementById(id);
const STATUS_WORDS = new Set(['pending', 'queued', 'processing', 'done', 'error', 'cancelled']);
const DEFAULT_WIDTH = 96;

let book = null; // what /state said
let sheet = null; // the tab that is shown
let table = null;
let scripts = 0; // how many menu functions run
let editing = null; // the row (0-based) whose cell is being edited in place
let stale = false; // something changed the structure meanwhile
let loading = Promise.resolve();

/** Name a 0-based column: 0 is A, 26 is AA. */
function letters(column) {
  let name = '';
  for (let rest = column + 1; rest; rest = Math.floor((rest - 1) / 26)) name = String.fromCharCode(65 + ((rest - 1) % 26)) + name;
  return name;
}

async function post(path, body) {
  const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) toast(said.error || `${path}: ${answer.status}`, 'That did not work', 10);
  return said;
}

const field = (column) => `c${column}`;
const columnOf = (component) => Number(component.getField().slice(1));

// ---- cells -----------------------------------------------------------------------------------------------------

/** Draw one cell: {t text, e as entered, i picture, n note}. */
function draw(cell) {
  const value = cell.getValue();
  if (!value || typeof value === 'string') return text(value || '');
  let shown;
  if (value.i) {
    shown = document.createElement('img');
    shown.src = `/image?url=${encodeURIComponent(value.i)}`;
    shown.alt = 'Preview';
    shown.loading = 'lazy';
  } else if (/^https?:\/\/\S+$/.test(value.t)) {
    shown = document.createElement('span');
    shown.className = 'clip';
    const link = document.createElement('a');
    link.href = value.t;
    link.target = '_blank';
    link.rel = 'noopener';
    link.textContent = value.t.replace(/^https?:\/\//, '');
    link.title = value.t;
    shown.append(link);
  } else if (STATUS_WORDS.has(value.t)) {
    shown = document.createElement('span');
    shown.className = `chip ${value.t}`;
    shown.textContent = value.t;
  } else {
    shown = text(value.t);
    if (/^-?[\d.,]+%?$/.test(value.t) && !(value.e || '').startsWith("'")) shown.classList.add('number');
    if (/^#(REF!|NAME\?|VALUE!|ERROR!)$/.test(value.t)) shown.classList.add('formula-error');
  }
  if (value.n) {
    const noted = document.createElement('div');
    noted.className = 'noted';
    noted.title = value.n;
    noted.append(shown);
    return noted;
  }
  return shown;
}

function text(words) {
  const span = document.createElement('span');
  span.className = 'clip';
  span.textContent = words;
  return span;
}

const entered = (value) => (value ? (typeof value === 'string' ? value : (value.e ?? value.t)) : '');

/** Edit a cell in place: Enter and Tab keep, Escape does not. */
function edit(cell, onRendered, success, cancel) {
  const input = document.createElement('input');
  input.value = entered(cell.getValue());
  cell.getElement().classList.add('editing');
  onRendered(() => input.focus());
  editing = rowOf(cell);
  let over = false;
  const end = (keep) => {
    if (over) return;
    over = true;
    editing = null;
    cell.getElement().classList.remove('editing');
    cancel();
    if (keep && input.value !== entered(cell.getValue())) type([[rowOf(cell), columnOf(cell), input.value]]);
    if (stale) load();
  };
  input.addEventListener('blur', () => end(true));
  input.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Enter' || event.key === 'Tab') end(true);
    if (event.key === 'Escape') end(false);
  });
  return input;
}

const rowOf = (cell) => cell.getRow().getData().r;
const type = (cells) => post('/edit', { sheet: sheet.id, cells });
const restructure = (what) => post('/structure', { sheet: sheet.id, ...what });

// ---- the grid --------------------------------------------------------------------------------------------------

function rowsOf(state) {
  const rows = Array.from({ length: state.rows }, (_, r) => ({ r }));
  for (const [r, c, cell] of state.cells) rows[r][field(c)] = cell;
  const hidden = new Set(state.hidden);
  return rows.filter((row) => !hidden.has(row.r));
}

const rowMenu = [
  { label: 'Insert 1 row above', action: (_e, row) => restructure({ do: 'insert_rows', at: row.getData().r }) },
  { label: 'Insert 1 row below', action: (_e, row) => restructure({ do: 'insert_rows', at: row.getData().r + 1 }) },
  { label: 'Delete row', action: (_e, row) => restructure({ do: 'delete_rows', at: row.getData().r }) },
];
const columnMenu = [
  { label: 'Sort sheet A to Z', action: (_e, column) => restructure({ do: 'sort', at: columnOf(column), ascending: true }) },
  { label: 'Sort sheet Z to A', action: (_e, column) => restructure({ do: 'sort', at: columnOf(column), ascending: false }) },
  { separator: true },
  { label: 'Insert 1 column left', action: (_e, column) => restructure({ do: 'insert_cols', at: columnOf(column) }) },
  { label: 'Move column left', action: (_e, column) => columnOf(column) && restructure({ do: 'move_cols', at: columnOf(column), to: columnOf(column) - 1 }) },
  { label: 'Move column right', action: (_e, column) => restructure({ do: 'move_cols', at: columnOf(column), to: columnOf(column) + 2 }) },
  { label: 'Delete column', action: (_e, column) => restructure({ do: 'delete_cols', at: columnOf(column) }) },
];

function makeTable() {
  if (table) table.destroy();
  const columns = Array.from({ length: sheet.cols }, (_, c) => ({
    title: letters(c),
    field: field(c),
    width: sheet.widths[c] || DEFAULT_WIDTH,
    headerSort: false,
    formatter: draw,
    editor: edit,
    headerContextMenu: columnMenu,
  }));
  table = new Tabulator('#grid', {
    data: rowsOf(sheet),
    index: 'r',
    columns,
    height: '100%',
    layout: 'fitData',
    selectableRange: true,
    selectableRangeRows: true,
    selectableRangeColumns: true,
    selectableRangeClearCells: false,
    editTriggerEvent: 'dblclick',
    rowHeader: {
      field: 'r',
      formatter: (cell) => String(cell.getValue() + 1),
      width: 46,
      resizable: false,
      headerSort: false,
      frozen: true,
      cssClass: 'tabulator-row-header',
    },
    rowContextMenu: rowMenu,
    rowFormatter: dress,
    resizableColumnFit: false,
  });
  table.on('rangeChanged', showSelected);
  table.on('rangeAdded', showSelected);
  table.on('tableBuilt', () => showSelected());
}

/** A row with a picture is tall; the first row is the header. */
function dress(row) {
  const data = row.getData();
  const tall = Object.values(data).some((value) => value && value.i);
  row.getElement().classList.toggle('tall', tall);
  row.getElement().classList.toggle('first-row', data.r === 0);
}

/** Give the selected ranges as [row0, col0, row1, col1], inclusive. */
function selectedRanges() {
  return table.getRanges().map((range) => {
    const rows = range.getRows().map((row) => row.getData().r);
    const columns = range.getColumns().filter((column) => /^c\d+$/.test(column.getField())).map(columnOf);
    if (!columns.length) columns.push(0, sheet.cols - 1);
    return [Math.min(...rows), Math.min(...columns), Math.max(...rows), Math.max(...columns)];
  });
}

function activeCell() {
  const ranges = table.getRanges();
  if (!ranges.length) return null;
  const [row, column] = selectedRanges()[ranges.length - 1];
  return { row, column };
}

function showSelected() {
  if (document.activeElement === $('formula')) return;
  const active = activeCell();
  if (!active) return;
  $('where').value = letters(active.column) + (active.row + 1);
  const row = table.getRow(active.row);
  $('formula').value = row ? entered(row.getData()[field(active.column)]) : '';
}

function applyCells({ sheet: id, cells }) {
  const state = book.sheets.find((each) => each.id === id);
  if (!state) return;
  if (cells.some(([r, c]) => r >= state.rows || c >= state.cols)) return void load();
  const known = new Map(state.cells.map((each) => [`${each[0]},${each[1]}`, each]));
  const rows = new Map();
  for (const [r, c, cell] of cells) {
    known.set(`${r},${c}`, [r, c, cell]);
    if (!rows.has(r)) rows.set(r, { r });
    rows.get(r)[field(c)] = cell;
  }
  state.cells = [...known.values()].filter((each) => each[2]);
  if (state === sheet && rows.size) {
    const grid = table;
    // A hidden row, or one that a coming grid has and this one not, is not there to be updated.
    const there = [...rows.values()].filter(({ r }) => grid.getRow(r));
    grid
      .updateData(there)
      .then(() => {
        for (const { r } of there) {
          const row = grid.getRow(r);
          if (row && r !== editing) row.reformat(); // it would end the editing
        }
        showSelected();
      })
      .catch(() => load()); // the grid was made anew meanwhile
  }
  showGate();
}

// ---- around the grid -------------------------------------------------------------------------------------------

function showTabs() {
  $('tabs').replaceChildren(
    ...book.sheets.map((each) => {
      const tab = document.createElement('button');
      tab.type = 'button';
      tab.role = 'tab';
      tab.textContent = each.title;
      tab.setAttribute('aria-selected', String(each === sheet));
      tab.addEventListener('click', () => show(each.id));
      tab.addEventListener('dblclick', async () => {
        const title = await ask({ title: 'Rename tab', text: 'New name', kind: 'prompt', buttons: 'OK_CANCEL', value: each.title });
        if (title.button === 'OK' && title.text) restructure({ do: 'rename', title: title.text });
      });
      return tab;
    }),
  );
}

function showGate() {
  const wants = book.sheets.some((each) => each.cells.some((cell) => (cell[2].e || '').startsWith('=IMAGE(')));
  $('gate').hidden = book.images_allowed || !wants;
}

function show(id) {
  sheet = book.sheets.find((each) => each.id === id) || book.sheets[0];
  makeTable();
  showTabs();
}

/** What the grid is built from; while it stays the same only cells are drawn anew. */
const shape = ({ id, rows, cols, frozen, widths, hidden }) => JSON.stringify([id, rows, cols, frozen, widths, hidden]);

/** Give the cells in which *after* differs from *before*, as an event has them. */
function changedCells(before, after) {
  const places = (state) => new Map(state.cells.map(([r, c, cell]) => [`${r},${c}`, cell]));
  const [old, now] = [places(before), places(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((place) => JSON.stringify(old.get(place)) !== JSON.stringify(now.get(place)))
    .map((place) => [...place.split(',').map(Number), now.get(place) ?? null]);
}

/** Select *ranges* in the new grid; a person who chose rows must not find others chosen. */
function select(ranges) {
  const [standard] = table.getRanges();
  let kept = 0;
  for (const [r0, c0, r1, c1] of ranges) {
    const rows = table.getRows().filter((row) => row.getData().r >= r0 && row.getData().r <= r1);
    if (!rows.length || c0 >= sheet.cols) continue;
    table.addRange(rows[0].getCell(field(c0)), rows.at(-1).getCell(field(Math.min(c1, sheet.cols - 1))));
    kept++;
  }
  if (kept && standard) standard.remove();
}

/** Fetch and show all, one after the other: a grid in the making has no selection that could be kept. */
const load = () => (loading = loading.then(loadNow, loadNow));

async function loadNow() {
  const fresh = await (await fetch('/state')).json();
  const before = sheet;
  const after = before && fresh.sheets.find((each) => each.id === before.id);
  const sameGrid = table && after && shape(after) === shape(before);
  stale = editing !== null && !sameGrid;
  if (stale) return; // once the editing is over
  const chosen = table ? selectedRanges() : [];
  book = fresh;
  $('title').textContent = book.title;
  document.title = `${book.title} – ComfySheet sandbox`;
  $('renders').textContent = `Rendering on ${book.renders_on}`;
  if (sameGrid) {
    sheet = after;
    applyCells({ sheet: after.id, cells: changedCells(before, after) });
    showTabs();
    return;
  }
  const at = table ? document.querySelector('.tabulator-tableholder') : null;
  const place = at ? [at.scrollTop, at.scrollLeft] : [0, 0];
  show(sheet ? sheet.id : book.sheets[0].id);
  showGate();
  await new Promise((built) => table.on('tableBuilt', built));
  const holder = document.querySelector('.tabulator-tableholder');
  [holder.scrollTop, holder.scrollLeft] = place;
  if (after) select(chosen);
}

async function loadMenus() {
  const menus = await (await fetch('/menu')).json();
  if (menus.error) return toast(menus.error, 'The script does not start', 20);
  $('menus').replaceChildren(...menus.map(makeMenu));
}

function makeMenu(menu) {
  const holder = document.createElement('div');
  holder.className = 'menu';
  const opener = document.createElement('button');
  opener.type = 'button';
  opener.textContent = menu.title;
  opener.setAttribute('aria-haspopup', 'menu');
  opener.setAttribute('aria-expanded', 'false');
  const list = document.createElement('div');
  list.role = 'menu';
  list.hidden = true;
  const toggle = (open) => {
    list.hidden = !open;
    opener.setAttribute('aria-expanded', String(open));
    if (open) list.querySelector('button').focus();
  };
  for (const item of menu.items) {
    if (!item) {
      list.append(document.createElement('hr'));
      continue;
    }
    const button = document.createElement('button');
    button.type = 'button';
    button.role = 'menuitem';
    button.textContent = item.label;
    button.addEventListener('click', () => {
      toggle(false);
      post('/script/run', { function: item.function, sheet: sheet.id, ranges: selectedRanges() });
    });
    list.append(button);
  }
  opener.addEventListener('click', () => toggle(list.hidden));
  holder.addEventListener('keydown', (event) => {
    const buttons = [...list.querySelectorAll('button')];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === 'Escape') {
      toggle(false);
      opener.focus();
    } else if (event.key === 'ArrowDown' && !list.hidden) buttons[(at + 1) % buttons.length].focus();
    else if (event.key === 'ArrowUp' && !list.hidden) buttons[(at + buttons.length - 1) % buttons.length].focus();
    else return;
    event.preventDefault();
  });
  document.addEventListener('click', (event) => holder.contains(event.target) || toggle(false));
  holder.append(opener, list);
  return holder;
}

function toast(message, title, seconds) {
  const box = document.createElement('div');
  box.className = 'toast';
  const head = document.createElement('strong');
  head.textContent = title || 'ComfySheet';
  box.append(head, message);
  $('toasts').append(box);
  if (seconds >= 0) setTimeout(() => box.remove(), (seconds || 5) * 1000);
}

const BUTTONS = { OK: ['OK'], OK_CANCEL: ['OK', 'CANCEL'], YES_NO: ['YES', 'NO'], YES_NO_CANCEL: ['YES', 'NO', 'CANCEL'] };
const WORDS = { OK: 'OK', CANCEL: 'Cancel', YES: 'Yes', NO: 'No' };
let waiting = Promise.resolve();

/** Show an alert or a prompt, one after another; give {button, text}. Escape closes. */
function ask({ kind, title, text: words, buttons, value = '', id }) {
  const turn = waiting.then(
    () =>
      new Promise((done) => {
        const dialog = $('dialog');
        $('dialog-title').textContent = title || 'ComfySheet';
        $('dialog-text').textContent = words;
        const input = $('dialog-input');
        input.hidden = kind !== 'prompt';
        input.value = value;
        dialog.dataset.id = id ?? '';
        $('dialog-buttons').replaceChildren(
          ...(BUTTONS[buttons] || BUTTONS.OK).map((name) => {
            const button = document.createElement('button');
            button.value = name;
            button.textContent = WORDS[name];
            return button;
          }),
        );
        dialog.returnValue = 'CLOSE';
        dialog.addEventListener('close', () => done({ button: dialog.returnValue || 'CLOSE', text: input.value }), { once: true });
        dialog.showModal();
        (kind === 'prompt' ? input : $('dialog-buttons').firstChild).focus();
      }),
  );
  waiting = turn;
  return turn;
}

// ---- news ------------------------------------------------------------------------------------------------------

function listen() {
  const news = new EventSource('/events');
  const on = (name, act) => news.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on('hello', () => {
    say();
    load();
  });
  on('cells', applyCells);
  on('redraw', load);
  on('toast', ({ message, title, seconds }) => toast(message, title, seconds));
  on('ask', async (question) => post('/dialog', { id: question.id, ...(await ask(question)) }));
  on('answered', ({ id }) => {
    // Somebody answered in another window.
    if ($('dialog').open && $('dialog').dataset.id === String(id)) $('dialog').close('CLOSE');
  });
  on('script', ({ running }) => {
    scripts += running ? 1 : -1;
    say();
  });
  news.onerror = () => {
    $('status').textContent = 'Not connected; trying again …';
    scripts = 0;
  };
}

const say = () => ($('status').textContent = scripts > 0 ? 'Running script …' : 'Live');

$('allow').addEventListener('click', () => post('/allow-images', {}).then(load));
$('formula').addEventListener('keydown', (event) => {
  if (event.key === 'Enter') {
    const { row, column } = activeCell();
    const was = entered(table.getRow(row)?.getData()[field(column)]);
    if ($('formula').value !== was) type([[row, column, $('formula').value]]);
    $('formula').blur();
  } else if (event.key === 'Escape') {
    $('formula').blur();
    showSelected();
  }
});
document.addEventListener('keydown', (event) => {
  if (!/^(Delete|Backspace)$/.test(event.key) || /^(INPUT|TEXTAREA)$/.test(event.target.tagName) || !table) return;
  const cells = [];
  for (const [r0, c0, r1, c1] of selectedRanges()) {
    for (let r = r0; r <= r1; r++) for (let c = c0; c <= c1; c++) cells.push([r, c, '']);
  }
  type(cells);
});

loadMenus();
listen();

// What all modules share: the workbook as the server told it, who sits here, and how to ask the server.

const asked = new URLSearchParams(location.search);

export const app = {
  user: asked.get('user') || 'user@example.com',
  page: crypto.randomUUID(), // this tab of the browser
  book: null, // what /state said
  sheet: null, // the tab that is shown, in full
  table: null, // Tabulator's
  rows: [], // the rows that the grid has, in their order
  view: null, // the filter view that this page applies, if any
  people: [], // who has the workbook open
};

export const $ = (id) => document.getElementById(id);

/** Make an element: make('button', {type: 'button', class: 'x', onclick}, 'words', child). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Name a 0-based column: 0 is A, 26 is AA. */
export function letters(column) {
  let name = '';
  for (let rest = column + 1; rest; rest = Math.floor((rest - 1) / 26)) {
    name = String.fromCharCode(65 + ((rest - 1) % 26)) + name;
  }
  return name;
}

export const cellName = (row, column) => letters(column) + (row + 1);
export const field = (column) => `c${column}`;

/** Ask the server to change something; gives its answer, with `error` when it refused. */
export async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: app.user, page: app.page, ...body }),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok && !said.error) said.error = `${path}: ${answer.status}`;
  return said;
}

export async function get(path) {
  const answer = await fetch(path);
  return answer.json();
}

// Show the script's HTML: a sidebar of 300 px, a dialog that blocks the sheet, or one beside it. Each lives in a frame
// without our origin; google.script.run goes through postMessage to this page and from here to the server.

import { $, app, get, make, post } from './app.js';
import { focusGrid, selectedRanges } from './selection.js';

const WIDTH = 600; // of a dialog whose script says nothing
const HEIGHT = 400;
const PERMISSIONS = 'allow-scripts allow-forms allow-popups';
const shims = new Map();
const frames = new Map(); // the frame's window → what it lives in

async function shim(closesOnEscape) {
  const functions = await get('/script/functions');
  if (!shims.has('text')) shims.set('text', await (await fetch('/assets/script-host.js')).text());
  return shims
    .get('text')
    .replace('/* functions */ []', JSON.stringify(functions))
    .replace('/* escape */ false', String(closesOnEscape));
}

/** Put the shim before all that the HTML itself runs. */
function withShim(html, code) {
  const script = `<script>${code}</` + 'script>';
  const head = /<head[^>]*>/i.exec(html) || /<html[^>]*>/i.exec(html) || /^\s*<!doctype[^>]*>/i.exec(html);
  const at = head ? head.index + head[0].length : 0;
  return html.slice(0, at) + script + html.slice(at);
}

/** Show {place, title, html, width, height, modal}. */
export async function showHtml({ place, title, html, width, height, modal = true }) {
  const isSidebar = place === 'sidebar';
  const frame = make('iframe', { sandbox: PERMISSIONS, title: title || 'ComfySheet' });
  const content = withShim(html, await shim(!isSidebar));
  const holder = isSidebar ? openSidebar(title, frame) : openDialog(title, frame, width, height, modal);
  frame.srcdoc = content;
  // The frame's window exists as soon as the frame is in the document.
  frames.set(frame.contentWindow, holder);
}

function openSidebar(title, frame) {
  closeSidebar();
  $('sidebar-title').textContent = title || 'Sidebar';
  $('sidebar-body').replaceChildren(frame);
  $('sidebar').hidden = false;
  return { frame, close: closeSidebar, size: () => {} };
}

function closeSidebar() {
  const frame = $('sidebar-body').querySelector('iframe');
  if (frame) frames.delete(frame.contentWindow);
  const hadFocus = $('sidebar').contains(document.activeElement);
  $('sidebar-body').replaceChildren();
  $('sidebar').hidden = true;
  if (hadFocus) focusGrid();
}

function openDialog(title, frame, width, height, modal) {
  const before = document.activeElement;
  const close = make('button', { type: 'button', class: 'close', 'aria-label': 'Close' }, '×');
  const heading = make('h2', { id: `html-title-${frames.size}` }, title || '');
  const dialog = make('dialog', { class: 'html', 'aria-labelledby': heading.id }, make('header', {}, heading, close), frame);
  frame.style.width = `${width || WIDTH}px`;
  frame.style.height = `${height || HEIGHT}px`;
  document.body.append(dialog);
  close.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    frames.delete(frame.contentWindow);
    dialog.remove();
    if (before?.isConnected && before !== document.body) before.focus({ preventScroll: true });
    else focusGrid();
  });
  if (modal) dialog.showModal();
  else dialog.show();
  dialog.addEventListener('keydown', (event) => event.key === 'Escape' && !modal && dialog.close());
  return {
    frame,
    close: () => dialog.close(),
    size: (side, px) => (frame.style[side] = `${px}px`),
  };
}

async function answer(from, { call, function: name, args }) {
  const asked = { function: name, args, sheet: app.sheet.id, ranges: selectedRanges() };
  const said = await post('/script/call', asked).catch(() => ({ error: 'NetworkError: Connection failure due to HTTP 0' }));
  const told = said.error === undefined ? { result: said.result ?? null } : { error: said.error };
  from.postMessage({ scriptHost: true, answer: call, ...told }, '*');
}

/** Listen to the frames. A frame that is closed is heard no more. */
export function listenToFrames() {
  addEventListener('message', ({ source, data }) => {
    const holder = frames.get(source);
    if (!holder || !data?.scriptHost) return;
    if (data.call) answer(source, data);
    else if (data.host === 'close') holder.close();
    else if (data.host === 'focus') focusGrid();
    else if (['width', 'height'].includes(data.host) && data.size > 0) holder.size(data.host, Math.min(data.size, 2000));
  });
  $('sidebar-close').addEventListener('click', closeSidebar);
  $('sidebar').addEventListener('keydown', (event) => event.key === 'Escape' && focusGrid());
}

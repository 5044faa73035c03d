// Names that a browser or Node has and Apps Script has not, with what to use instead.

const browser = (name) => `Apps Script has no ${name}: it runs on a server, without a page.`;
const use = (instead) => (name) => `Apps Script has no ${name}; ${instead}.`;

const TIMERS = [
  'setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'queueMicrotask',
  'requestAnimationFrame',
];
const PAGE = [
  'AbortController', 'Event', 'EventTarget', 'FormData', 'URL', 'URLSearchParams', 'Worker', 'alert', 'confirm',
  'document', 'indexedDB', 'localStorage', 'location', 'navigator', 'performance', 'prompt', 'self', 'sessionStorage',
  'structuredClone', 'window',
];

const KINDS = [
  { names: TIMERS, message: () => 'Apps Script has no timers; Utilities.sleep(ms) waits.' },
  { names: PAGE, message: browser },
  {
    names: ['fetch', 'XMLHttpRequest', 'WebSocket', 'Request', 'Response', 'Headers'],
    message: use('UrlFetchApp.fetch(url, options) does it'),
  },
  {
    names: ['TextEncoder', 'TextDecoder', 'Blob', 'File'],
    message: use('Utilities.newBlob(text).getBytes() and blob.getDataAsString() do it'),
  },
  { names: ['atob', 'btoa'], message: use('Utilities.base64Encode and base64Decode do it') },
  { names: ['crypto'], message: use('Utilities.getUuid, computeDigest and computeHmacSha256Signature do it') },
  {
    names: ['require', 'module', 'exports'],
    message: () => 'Apps Script has no modules; all files share one global scope.',
  },
  {
    names: ['process', 'global', 'Buffer', '__dirname', '__filename'],
    message: (name) => `Apps Script has no ${name}: it is not Node.`,
  },
];

export const ABSENT = KINDS.flatMap(({ names, message }) => names.map((name) => ({ name, message: message(name) })));

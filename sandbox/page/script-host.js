// What Google puts into a script's HTML: google.script.run and google.script.host. Runs inside the sandboxed frame and
// talks to the page with postMessage. FUNCTIONS is filled in by the page: the script's functions that are not private.
(() => {
  const FUNCTIONS = /* functions */ [];
  const CLOSES_ON_ESCAPE = /* escape */ false;
  const AT_ONCE = 10; // google.script.run: 10 concurrent calls per page, the 11th waits

  const waiting = []; // calls that have not gone out
  const running = new Map(); // id → {success, failure, userObject}
  let ids = 0;

  const tell = (message) => parent.postMessage({ scriptHost: true, ...message }, '*');

  /** Copy what may be sent: null, booleans, numbers, strings, arrays and plain objects of these; a form alone. */
  function sendable(value, where, seen = []) {
    if (value === null || value === undefined) return null;
    if (['boolean', 'string'].includes(typeof value)) return value;
    if (typeof value === 'number') return Number.isFinite(value) ? value : null;
    const isPlain = Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value));
    if (typeof value !== 'object' || !isPlain || seen.includes(value)) {
      throw new TypeError(`Failed due to illegal value in property: ${where}`);
    }
    const trail = [...seen, value];
    if (Array.isArray(value)) return value.map((one, at) => sendable(one, at, trail));
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, sendable(one, name, trail)]));
  }

  /** Read a form as Google does: its fields by name, several of one name as a list. */
  function formValues(form) {
    const values = {};
    for (const [name, value] of new FormData(form)) {
      if (name in values) values[name] = [].concat(values[name], value);
      else values[name] = value;
    }
    return values;
  }

  function next() {
    while (running.size < AT_ONCE && waiting.length) {
      const { id, name, args, handlers } = waiting.shift();
      running.set(id, handlers);
      tell({ call: id, function: name, args });
    }
  }

  function runner(handlers) {
    const made = {
      withSuccessHandler: (success) => runner({ ...handlers, success }),
      withFailureHandler: (failure) => runner({ ...handlers, failure }),
      withUserObject: (userObject) => runner({ ...handlers, userObject }),
    };
    for (const name of FUNCTIONS) {
      made[name] = (...given) => {
        const isForm = given.length === 1 && given[0] instanceof HTMLFormElement;
        const args = isForm ? [formValues(given[0])] : given.map((one, at) => sendable(one, at));
        waiting.push({ id: ++ids, name, args, handlers });
        next();
      };
    }
    return made;
  }

  addEventListener('message', ({ source, data }) => {
    if (source !== parent || !data || !data.scriptHost) return;
    const handlers = running.get(data.answer);
    if (!handlers) return;
    running.delete(data.answer);
    next();
    if ('error' in data) {
      const error = new Error(data.error);
      error.name = 'ScriptError';
      if (handlers.failure) handlers.failure(error, handlers.userObject);
      else console.error(`Uncaught ${error}`);
    } else if (handlers.success) handlers.success(data.result, handlers.userObject);
  });

  if (CLOSES_ON_ESCAPE) {
    addEventListener('keydown', (event) => event.key === 'Escape' && !event.defaultPrevented && tell({ host: 'close' }));
  }

  const host = {
    origin: location.origin,
    close: () => tell({ host: 'close' }),
    setHeight: (height) => tell({ host: 'height', size: Number(height) }),
    setWidth: (width) => tell({ host: 'width', size: Number(width) }),
    editor: { focus: () => tell({ host: 'focus' }) },
  };
  globalThis.google = { script: { run: runner({}), host } };
})();

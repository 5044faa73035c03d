/**
 * Give a fresh quickjs context the globals of Apps Script. Loaded first, before any file of the project.
 *
 * Every service is a proxy that asks the host for what it does: one JSON text there, one back. Anything that the host
 * does not know throws "X is not emulated", so that nothing is emulated by accident. Line numbers of this file stay
 * below 1000: the host tells by them which frames of a stack are ours.
 */
(function () {
  const ask = globalThis.__host;
  delete globalThis.__host;
  // quickjs-ng has them, Apps Script has not
  for (const name of ['performance', 'queueMicrotask', 'atob', 'btoa', 'DOMException', 'navigator']) delete globalThis[name];

  const choices = new Map();

  function choice(path) {
    if (!choices.has(path)) {
      const name = path.slice(path.lastIndexOf('.') + 1);
      choices.set(path, Object.freeze({ toString: () => name, name: () => name, toJSON: () => ({ $choice: path }) }));
    }
    return choices.get(path);
  }

  function pack(key, value) {
    const raw = this[key];
    if (raw instanceof Date) return { $date: raw.getTime() };
    if (typeof raw === 'number' && !Number.isFinite(raw)) return { $number: String(raw) };
    return value;
  }

  function unpack(key, value) {
    if (value === null || typeof value !== 'object') return value;
    if ('$date' in value) return new Date(value.$date);
    if ('$face' in value) return face(value.$face, value.id);
    if ('$choice' in value) return choice(value.$choice);
    return value;
  }

  function call(id, member, args) {
    const answer = JSON.parse(ask(JSON.stringify([id, member, args], pack)), unpack);
    if (!('error' in answer)) return answer.result === null && answer.nothing ? undefined : answer.result;
    const error = new Error(answer.error);
    error.name = answer.name;
    throw error;
  }

  function strict(name, target, other) {
    return new Proxy(target, {
      get(_, key) {
        if (key === Symbol.toPrimitive || key === 'toString') return () => name;
        if (typeof key === 'symbol' || key === 'then') return undefined;
        if (Object.hasOwn(target, key)) return target[key];
        return other(key);
      },
      set(_, key) {
        throw new TypeError(`${name}.${String(key)} cannot be set`);
      },
    });
  }

  function unknown(name) {
    return (key) => {
      throw new Error(`${name}.${key} is not emulated`);
    };
  }

  function face(name, id) {
    const { methods, enums } = classes[name];
    const target = { toJSON: () => ({ $face: name, id }) };
    for (const [kind, names] of Object.entries(enums)) {
      const members = Object.fromEntries(names.map((one) => [one, choice(`${kind}.${one}`)]));
      target[kind] = strict(`${name}.${kind}`, members, unknown(`${name}.${kind}`));
    }
    const miss = unknown(name);
    return strict(name, target, (key) => (methods.includes(key) ? (...args) => call(id, key, args) : miss(key)));
  }

  const { classes, globals } = JSON.parse(ask('[0,"",[]]')).result;
  for (const [name, [kind, id]] of Object.entries(globals)) globalThis[name] = face(kind, id);

  /** Say whether google.script.run brings a value home: no Date, no function, nowhere within. */
  function portable(value) {
    if (value === null || typeof value !== 'object') return !['function', 'symbol', 'bigint'].includes(typeof value);
    return !(value instanceof Date) && Object.values(value).every(portable);
  }

  /**
   * Run a function as a menu click does, or (html) as google.script.run does: then a result that cannot travel is null.
   * Gives JSON of {result} or {error, stack}.
   */
  globalThis.__run = function (name, args, html) {
    try {
      if (typeof globalThis[name] !== 'function') throw new ReferenceError(`Script function not found: ${name}`);
      const result = globalThis[name](...JSON.parse(args));
      const lost = result instanceof Promise || result === undefined || (html && !portable(result));
      return JSON.stringify({ result: lost ? null : result });
    } catch (error) {
      const isError = error instanceof Error;
      return JSON.stringify({ error: String(error), stack: isError ? String(error.stack) : '' });
    }
  };
  Object.defineProperty(globalThis, '__run', { enumerable: false });
})();

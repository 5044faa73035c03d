// What all files together define and use: Apps Script gives them one global scope.

import fs from 'node:fs';
import path from 'node:path';
import * as espree from 'espree';
import { scriptsOf } from './html.mjs';

const OPTIONS = { ecmaVersion: 2022, sourceType: 'script', comment: true, range: true };

function parse(text) {
  try {
    return espree.parse(text, OPTIONS);
  } catch {
    return { body: [], comments: [] }; // ESLint itself says so, with the place
  }
}

function declared(node) {
  if (node.type === 'FunctionDeclaration' || node.type === 'ClassDeclaration') return [node.id.name];
  if (node.type !== 'VariableDeclaration') return [];
  return node.declarations.flatMap(({ id }) => (id.type === 'Identifier' ? [id.name] : []));
}

function words(text) {
  return text.match(/[\w$]+/g) || [];
}

export function readProject(folder) {
  const all = fs.readdirSync(folder).sort();
  const read = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
  const files = all.filter((name) => name.endsWith('.js')).map((name) => {
    const { body } = parse(read(name));
    const functions = body.filter((node) => node.type === 'FunctionDeclaration').map((node) => node.id.name);
    return { name, names: body.flatMap(declared), functions };
  });
  const texts = all.flatMap((name) => {
    if (name.endsWith('.js')) return [withoutComments(read(name))];
    return name.endsWith('.html') ? [scriptsOf(read(name))] : [];
  });
  return {
    files,
    filesOf: (name) => files.filter((file) => file.names.includes(name)).map((file) => file.name),
    functions: new Set(files.flatMap((file) => file.functions)),
    namesBeside: (file) => files.flatMap((one) => one.names).filter((name) => !file.names.includes(name)),
    countOf: counter(texts),
  };
}

/** Blank out comments, so that a name in a comment is not a use. */
function withoutComments(text) {
  const blanked = (out, { range: [start, end] }) => out.slice(0, start) + ' '.repeat(end - start) + out.slice(end);
  return parse(text).comments.reduce(blanked, text);
}

function counter(texts) {
  const counts = new Map();
  for (const word of texts.flatMap(words)) counts.set(word, (counts.get(word) || 0) + 1);
  return (name) => counts.get(name) || 0;
}

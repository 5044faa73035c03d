// What Apps Script's parser or runtime does not have is refused here, and only here. Run through infra/sheet_check.py
// with the folder to judge as the working directory.
//
// Source of the facts: GEMINI.md of googleworkspace/apps-script-samples.

import js from '@eslint/js';
import globals from 'globals';
import { inlineScripts } from './html.mjs';
import { readProject } from './project.mjs';
import { rules } from './rules.mjs';

const SERVICES = [
  'CacheService', 'HtmlService', 'LockService', 'Logger', 'PropertiesService', 'ScriptApp', 'Session', 'SpreadsheetApp',
  'UrlFetchApp', 'Utilities', 'console',
];

const ABSENT = {
  timers: {
    message: 'Apps Script has no timers; Utilities.sleep(ms) waits.',
    names: ['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'queueMicrotask', 'requestAnimationFrame'],
  },
  fetch: { message: 'Apps Script has no {name}; UrlFetchApp.fetch(url, options) does it.', names: ['fetch', 'XMLHttpRequest', 'WebSocket', 'Request', 'Response', 'Headers'] },
  text: { message: 'Apps Script has no {name}; Utilities.newBlob(text).getBytes() and blob.getDataAsString() do it.', names: ['TextEncoder', 'TextDecoder', 'Blob', 'File'] },
  base64: { message: 'Apps Script has no {name}; Utilities.base64Encode and base64Decode do it.', names: ['atob', 'btoa'] },
  crypto: { message: 'Apps Script has no {name}; Utilities.getUuid, computeDigest and computeHmacSha256Signature do it.', names: ['crypto'] },
  modules: { message: 'Apps Script has no modules; all files share one global scope.', names: ['require', 'module', 'exports'] },
  browser: {
    message: 'Apps Script has no {name}: it runs on a server, without a page.',
    names: [
      'window', 'document', 'performance', 'navigator', 'location', 'localStorage', 'sessionStorage', 'self', 'alert', 'confirm', 'prompt',
      'URL', 'URLSearchParams', 'FormData', 'AbortController', 'Event', 'EventTarget', 'Worker', 'structuredClone', 'indexedDB',
    ],
  },
  node: { message: 'Apps Script has no {name}: it is not Node.', names: ['process', 'global', 'Buffer', '__dirname', '__filename'] },
};
const absent = Object.values(ABSENT).flatMap(({ message, names }) => names.map((name) => ({ name, message: message.replace('{name}', name) })));

const UNPARSED = [
  { selector: 'PrivateIdentifier', message: 'Apps Script does not parse private #names; end the name in an underscore.' },
  { selector: 'PropertyDefinition[static=true]', message: 'Apps Script does not parse static fields; use a constant beside the class.' },
  { selector: 'StaticBlock', message: 'Apps Script does not parse static blocks.' },
  { selector: 'ImportExpression', message: 'Apps Script has no modules; all files share one global scope.' },
];

// What came from elsewhere (an error text, a prompt) would become markup.
const MARKUP = [
  { selector: 'AssignmentExpression[left.property.name=/^(inner|outer)HTML$/]', message: 'Text from elsewhere would become markup; use textContent and createElement.' },
  { selector: "CallExpression[callee.property.name='insertAdjacentHTML']", message: 'Text from elsewhere would become markup; use textContent and createElement.' },
  { selector: "CallExpression[callee.object.name='document'][callee.property.name=/^write(ln)?$/]", message: 'document.write is not for a page that is already there.' },
];

const project = readProject(process.cwd());
const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));
const plugins = { sheet: { rules: rules(project), processors: { html: inlineScripts } } };
const unused = ['error', { vars: 'local', args: 'after-used', caughtErrors: 'none' }];

export default [
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['*.js'],
    languageOptions: {
      sourceType: 'script',
      ecmaVersion: 2022,
      globals: readonly([...SERVICES, ...absent.map(({ name }) => name)]),
    },
    plugins,
    rules: {
      ...js.configs.recommended.rules,
      'no-restricted-globals': ['error', ...absent],
      'no-restricted-syntax': ['error', ...UNPARSED],
      'no-unused-vars': unused,
      'no-unused-private-class-members': 'off', // there may be none, see UNPARSED
      'no-empty-static-block': 'off',
      'no-redeclare': ['error', { builtinGlobals: false }],
      'no-empty': ['error', { allowEmptyCatch: true }],
      'no-var': 'error',
      'prefer-const': 'error',
      'eqeqeq': 'error',
      'sheet/load-order': 'error',
      'sheet/one-name': 'error',
      'sheet/used': 'error',
      'sheet/menu-target': 'error',
    },
  },
  // Every file sees the names of all the others.
  ...project.files.map((file) => ({
    files: [file.name],
    languageOptions: { globals: readonly(project.namesBeside(file)) },
  })),
  { files: ['*.html'], plugins, processor: 'sheet/html' },
  {
    files: ['*.html/*.js'],
    languageOptions: { sourceType: 'script', ecmaVersion: 2022, globals: { ...globals.browser, google: 'readonly' } },
    plugins,
    rules: {
      ...js.configs.recommended.rules,
      'no-restricted-syntax': ['error', ...MARKUP],
      'no-unused-vars': unused,
      'no-var': 'error',
      'prefer-const': 'error',
      'eqeqeq': 'error',
      'sheet/server-function': 'error',
    },
  },
];

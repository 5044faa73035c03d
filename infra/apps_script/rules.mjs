// Rules that need to know all files, or when code runs.

const isFunction = (node) => /Function/.test(node.type);

/** Give the function or class of this file that a name stands for, if it stands for one. */
function bodyOf(reference) {
  const definition = reference.resolved && reference.resolved.defs[0];
  if (!definition) return null;
  if (definition.type === 'FunctionName' || definition.type === 'ClassName') return definition.node;
  const value = definition.type === 'Variable' && definition.node.init;
  return value && (isFunction(value) || value.type === 'ClassExpression') ? value : null;
}

/** Say whether what stands here is run by the call around it: as the called or as an argument. */
function isCalled(node) {
  return Boolean(node.parent) && /^(CallExpression|NewExpression|TaggedTemplateExpression)$/.test(node.parent.type);
}

/**
 * Find what runs while the file loads: the top level, and every function of this file that is called there.
 *
 * @param {function(object): void} take is handed each reference that is read then
 */
function whileLoading(scopeManager, take) {
  const seen = new Set();
  const visit = (scope) => {
    if (seen.has(scope)) return;
    seen.add(scope);
    for (const reference of scope.references) {
      take(reference);
      const body = isCalled(reference.identifier) ? bodyOf(reference) : null;
      if (body) enter(body);
    }
    for (const child of scope.childScopes) {
      const held = child.type === 'function' && !isCalled(child.block);
      const later = child.type === 'class-field-initializer';
      if (!held && !later) visit(child);
    }
  };
  const enter = (node) => {
    const [start, end] = node.range;
    for (const scope of scopeManager.scopes) {
      const [from, to] = scope.block.range;
      const isMethod = /Class/.test(node.type) && from >= start && to <= end;
      if (scope.block === node || isMethod) visit(scope);
    }
  };
  visit(scopeManager.globalScope);
}

export function rules(project) {
  return {
    'load-order': {
      create: (context) => ({
        'Program:exit'() {
          const mine = (reference) => reference.resolved && reference.resolved.defs.length > 0;
          whileLoading(context.sourceCode.scopeManager, (reference) => {
            const { name } = reference.identifier;
            const [file] = project.filesOf(name);
            if (mine(reference) || file === undefined) return;
            const message = `This runs while the files load and needs ${name} of ${file}, which may not be there yet`;
            context.report({ node: reference.identifier, message: `${message}; do it in a function.` });
          });
        },
      }),
    },
    'one-name': {
      create: (context) => ({
        'Program:exit'() {
          const here = context.filename.split(/[\\/]/).pop();
          for (const variable of context.sourceCode.scopeManager.globalScope.variables) {
            const others = project.filesOf(variable.name).filter((file) => file !== here);
            if (variable.defs.length === 0 || others.length === 0) continue;
            const message = `${variable.name} is defined in ${others.join(' and ')} too`;
            context.report({ node: variable.defs[0].name, message: `${message}; all files share one global scope.` });
          }
        },
      }),
    },
    'used': {
      create: (context) => ({
        'Program:exit'() {
          for (const variable of context.sourceCode.scopeManager.globalScope.variables) {
            const { name, defs } = variable;
            if (defs.length === 0 || !name.endsWith('_') || project.countOf(name) > 1) continue;
            context.report({ node: defs[0].name, message: `${name} is private and used nowhere.` });
          }
        },
      }),
    },
    'menu-target': {
      create: (context) => ({
        "CallExpression[callee.property.name='addItem']"(node) {
          const target = node.arguments[1];
          if (!target || target.type !== 'Literal' || project.functions.has(target.value)) return;
          context.report({ node: target, message: `There is no function ${target.value} for this menu item.` });
        },
      }),
    },
    'server-function': {
      create: (context) => {
        const judge = (node, name) => {
          if (!project.functions.has(name)) {
            context.report({ node, message: `There is no function ${name} in apps_script/*.js.` });
          } else if (name.endsWith('_')) {
            context.report({ node, message: `${name} is private: google.script.run cannot call it.` });
          }
        };
        return {
          CallExpression({ callee }) {
            if (!isOnServer(callee)) return;
            if (!callee.computed) {
              judge(callee.property, callee.property.name);
              return;
            }
            for (const node of valuesOf(callee.property, context.sourceCode)) judge(node, node.value);
          },
        };
      },
    },
  };
}

const HANDLERS = new Set(['withSuccessHandler', 'withFailureHandler', 'withUserObject']);

/** Say whether this is `google.script.run[.withX(…)].name` or `…[name]`. */
function isOnServer(callee) {
  if (callee.type !== 'MemberExpression' || (!callee.computed && HANDLERS.has(callee.property.name))) return false;
  let node = callee.object;
  while (node.type === 'CallExpression' && node.callee.type === 'MemberExpression') {
    if (!HANDLERS.has(node.callee.property.name)) return false;
    node = node.callee.object;
  }
  const path = [];
  for (; node.type === 'MemberExpression' && !node.computed; node = node.object) path.unshift(node.property.name);
  return node.type === 'Identifier' && node.name === 'google' && path.join('.') === 'script.run';
}

/** Give the texts that a name can stand for: itself, or those that the function whose parameter it is gets. */
function valuesOf(node, sourceCode) {
  if (node.type === 'Literal') return [node];
  let scope = sourceCode.getScope(node);
  while (scope && !scope.set.has(node.name)) scope = scope.upper;
  const definition = scope && scope.set.get(node.name).defs[0];
  if (!definition || definition.type !== 'Parameter') return [];
  const owner = definition.node.type === 'FunctionDeclaration' ? definition.node : definition.node.parent;
  const [variable] = sourceCode.getDeclaredVariables(owner);
  return (variable ? variable.references : [])
    .filter(({ identifier: { parent } }) => parent.type === 'CallExpression')
    .map(({ identifier: { parent } }) => parent.arguments[definition.index])
    .filter((given) => given && typeof given.value === 'string');
}

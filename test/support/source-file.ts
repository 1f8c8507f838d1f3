import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { parseSync } from 'oxc-parser';

/** Something that a file takes from outside itself, and where it says so. */
export interface Use {
  /** A path from the checkout's root for our own files, else the module's name, else what is touched (`process.env`). */
  readonly target: string;
  readonly line: number;
}

/** What the architecture rules need to know of one TypeScript file. */
export interface SourceFile {
  /** From the checkout's root, with forward slashes. */
  readonly path: string;
  readonly lineCount: number;
  /** Imports, re-exports and type imports alike; an import whose module is computed has the target `(computed)`. */
  readonly imports: readonly Use[];
  /** Ambient things: the environment, the clock, randomness. */
  readonly touches: readonly Use[];
  /** `default` for a default export, `*` for a star export. */
  readonly blanketExports: readonly Use[];
}

/** Every TypeScript file of the checkout. */
export function readSourceTree(root: string): SourceFile[] {
  const rooms = '{proto,server,client,tpm,test,bench,scripts}/**/*.ts';
  return [...globSync(rooms, { cwd: root }), ...globSync('*.ts', { cwd: root })]
    .map((path) => path.replaceAll('\\', '/'))
    .toSorted()
    .map((path) => parseSourceFile(path, readFileSync(join(root, path), 'utf8')));
}

type Node = Readonly<Record<string, unknown>> & { readonly type: string; readonly start: number };

/** @throws Error where the text is not TypeScript. */
export function parseSourceFile(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text, { lang: 'ts', sourceType: 'module' });
  const error = errors.find(({ severity }) => severity === 'Error');
  if (error !== undefined) throw new Error(`${path} does not parse: ${error.message}`);

  const imports: Use[] = [];
  const touches: Use[] = [];
  const blanketExports: Use[] = [];
  for (const node of nodesOf(program)) {
    const use = (target: string): Use => ({ target, line: text.slice(0, node.start).split('\n').length });
    const specifier = importedBy(node);
    if (specifier !== undefined) {
      const target = resolve(path, specifier);
      imports.push(use(target));
      touches.push(...ambientImports(node, target).map(use));
    }
    const ambient = ambientOf(node);
    if (ambient !== undefined) touches.push(use(ambient));
    if (node.type === 'ExportDefaultDeclaration' || exportsAsDefault(node)) blanketExports.push(use('default'));
    if (node.type === 'ExportAllDeclaration') blanketExports.push(use('*'));
  }
  return { path, lineCount: text.trimEnd().split('\n').length, imports, touches, blanketExports };
}

function* nodesOf(value: unknown): Generator<Node> {
  if (typeof value !== 'object' || value === null) return;
  if (isNode(value)) yield value;
  for (const child of Object.values(value)) yield* nodesOf(child);
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

const importing = new Set([
  'ImportDeclaration',
  'ExportNamedDeclaration',
  'ExportAllDeclaration',
  'ImportExpression',
  'TSImportType',
]);

/** The module that a node imports; `(computed)` where only running the file would tell. */
function importedBy(node: Node): string | undefined {
  if (node.type === 'CallExpression' && nameOf(node['callee']) === 'require') {
    return literal((node['arguments'] as readonly unknown[])[0]) ?? '(computed)';
  }
  if (!importing.has(node.type) || !isNode(node['source'])) return undefined;
  return literal(node['source']) ?? '(computed)';
}

function literal(node: unknown): string | undefined {
  return isNode(node) && typeof node['value'] === 'string' ? node['value'] : undefined;
}

function resolve(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(from), specifier);
  return builtins.has(specifier) ? `node:${specifier}` : specifier;
}

function nameOf(node: unknown): string | undefined {
  return isNode(node) && typeof node['name'] === 'string' ? node['name'] : undefined;
}

const builtins = new Set(['fs', 'fs/promises', 'child_process', 'crypto', 'process']);

const randomNames = ['randomBytes', 'randomFill', 'randomFillSync', 'randomInt', 'randomUUID', 'getRandomValues'];

/** Named imports that are ambient by themselves: `import { randomBytes } from 'node:crypto'`. */
function ambientImports(node: Node, target: string): string[] {
  const specifiers = Array.isArray(node['specifiers']) ? (node['specifiers'] as readonly Node[]) : [];
  const names = specifiers.map(({ imported, local }) => nameOf(imported ?? local) ?? '');
  if (target === 'node:crypto') return names.filter((name) => randomNames.includes(name));
  if (target === 'node:process') return names.filter((name) => name === 'env').map(() => 'process.env');
  return [];
}

/** `process.env`, `Date.now`, `new Date()`, `Math.random`, `anything.randomBytes`. */
function ambientOf(node: Node): string | undefined {
  if (node.type === 'NewExpression' && nameOf(node['callee']) === 'Date') {
    return (node['arguments'] as readonly unknown[]).length === 0 ? 'new Date()' : undefined;
  }
  if (node.type === 'VariableDeclarator' && nameOf(node['init']) === 'process') {
    return isNode(node['id']) && node['id'].type === 'ObjectPattern' ? 'process.env' : undefined;
  }
  if (node.type !== 'MemberExpression' || !isNode(node['object']) || !isNode(node['property'])) return undefined;
  const property = nameOf(node['property']) ?? literal(node['property']) ?? '';
  const object = nameOf(node['object']) ?? '';
  if (randomNames.includes(property) && /crypto/i.test(object)) return property;
  return ['process.env', 'Date.now', 'Math.random'].find((name) => name === `${object}.${property}`);
}

function exportsAsDefault(node: Node): boolean {
  return node.type === 'ExportSpecifier' && nameOf(node['exported']) === 'default';
}

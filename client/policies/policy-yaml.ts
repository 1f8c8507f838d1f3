import { isAlias, isCollection, isMap, isPair, isScalar } from 'yaml';
import type { Document, Node, Pair, YAMLMap } from 'yaml';

/** Something that YAML has and a policy must not. */
export interface ForbiddenYaml {
  readonly offset: number;
  readonly message: string;
}

/** The pair of a field in a map, whichever way it is spelled: `pcrRules` or `pcr_rules`. */
export function findField(map: YAMLMap, name: string): Pair | undefined {
  const spelled = (spell: (text: string) => string): Pair | undefined =>
    map.items.find(({ key }) => isScalar(key) && spell(String(key.value)) === spell(name));
  return spelled((text) => text) ?? spelled(plain);
}

function plain(name: string): string {
  return name.replaceAll('_', '').toLowerCase();
}

/**
 * What would make a policy other than it reads, or a small file large: anchors and aliases, tags, fields that stand twice, keys that
 * are no words, another version of YAML. In the order of the text.
 */
export function findForbiddenYaml(document: Document.Parsed): readonly ForbiddenYaml[] {
  const found: ForbiddenYaml[] = [];
  if (document.directives.yaml.version !== '1.2') {
    found.push({ offset: document.range[0], message: 'a policy is YAML 1.2: leave the directive out' });
  }
  const waiting: Node[] = document.contents === null ? [] : [document.contents];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    const message = refusalOf(node);
    if (message !== undefined) found.push({ offset: node.range?.[0] ?? 0, message });
    if (isMap(node)) found.push(...findBadKeys(node));
    if (isCollection(node)) waiting.push(...childrenOf(node.items));
  }
  return found.toSorted((left, right) => left.offset - right.offset);
}

function refusalOf(node: Node): string | undefined {
  if (isAlias(node)) return 'aliases are not taken: write out what it stands for';
  if ('anchor' in node && node.anchor !== undefined) return 'anchors are not taken: write each part out';
  return node.tag === undefined ? undefined : 'tags are not taken: what a field is, is known';
}

function findBadKeys(map: YAMLMap): readonly ForbiddenYaml[] {
  const seen = new Set<string>();
  return map.items.flatMap(({ key }): readonly ForbiddenYaml[] => {
    const offset = (key as Node | null)?.range?.[0] ?? map.range?.[0] ?? 0;
    if (!isScalar(key) || key.value === null) return [{ offset, message: 'a field must have a name' }];
    const name = typeof key.value === 'string' ? key.value : JSON.stringify(key.value);
    if (seen.has(name)) return [{ offset, message: `${name} stands here twice` }];
    seen.add(name);
    return [];
  });
}

function childrenOf(items: readonly unknown[]): readonly Node[] {
  return items
    .flatMap((item) => (isPair(item) ? [item.key, item.value] : [item]))
    .filter((item): item is Node => typeof item === 'object' && item !== null);
}

/** Names and qualified names of objects (Part 1 §16, §26.5). */
import { TPM_RH_ENDORSEMENT } from '../structures/constants.ts';
import type { PublicArea } from '../structures/public-area.ts';
import { digest } from './digest.ts';

/** The Name of an object: nameAlg ‖ H_nameAlg(TPMT_PUBLIC), over the bytes as they were received. */
export function objectName(publicArea: PublicArea): Buffer {
  return prefixed(publicArea.nameAlg, digest(publicArea.nameAlg, publicArea.raw));
}

/**
 * The qualified name of a primary object: nameAlg ‖ H_nameAlg(hierarchy ‖ Name). The hierarchy's own name is its four-byte
 * handle. An EK's qualified name is that of a primary in the endorsement hierarchy.
 */
export function primaryQualifiedName(publicArea: PublicArea, hierarchy: number = TPM_RH_ENDORSEMENT): Buffer {
  const parent = Buffer.allocUnsafe(4);
  parent.writeUInt32BE(hierarchy);
  return childQualifiedName(publicArea, parent);
}

/**
 * The qualified name of an object under a parent: nameAlg ‖ H_nameAlg(parent's qualified name ‖ Name). Both nameAlg and the
 * hash are the object's own, whatever the parent's are.
 */
export function childQualifiedName(publicArea: PublicArea, parentQualifiedName: Buffer): Buffer {
  return prefixed(publicArea.nameAlg, digest(publicArea.nameAlg, parentQualifiedName, objectName(publicArea)));
}

function prefixed(nameAlg: number, hash: Buffer): Buffer {
  const name = Buffer.allocUnsafe(2 + hash.length);
  name.writeUInt16BE(nameAlg);
  hash.copy(name, 2);
  return name;
}

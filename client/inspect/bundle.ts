import { UsageError } from '../failure.ts';

/** Parts of evidence that are files of their own. */
export type BundlePart = keyof typeof BUNDLE_NAMES;

/** The names under which a folder holds each part; of several that are there the first counts. */
export const BUNDLE_NAMES = {
  attest: ['attest', 'quote.msg'],
  signature: ['signature', 'quote.sig'],
  ak: ['ak.pub', 'ak.pem'],
  pcrs: ['pcrs', 'quote.pcrs', 'pcrs.txt'],
  extraData: ['extra-data.hex', 'nonce.hex'],
  bootLog: ['binary_bios_measurements'],
  userspaceLog: ['tpm2-measure.log'],
  imaList: ['binary_runtime_measurements', 'ascii_runtime_measurements'],
} as const;

const EK_CERTIFICATE = /^ek.*\.(?:der|pem|crt|cer)$/;

/** Where the parts of evidence are. */
export type BundlePaths = Readonly<Record<BundlePart, string | undefined>> & {
  readonly ekCertificates: readonly string[];
};

/** Finds the parts in a folder; what a part is called otherwise counts before what is found. */
export function findParts(
  folder: { readonly path: string; readonly names: readonly string[] } | undefined,
  named: Partial<BundlePaths>,
): BundlePaths {
  const inside = (name: string): string => `${folder?.path ?? ''}/${name}`;
  const found = (part: BundlePart): string | undefined => {
    const name = BUNDLE_NAMES[part].find((candidate) => folder?.names.includes(candidate) === true);
    return named[part] ?? (name === undefined ? undefined : inside(name));
  };
  const certificates = folder?.names.filter((name) => EK_CERTIFICATE.test(name)).map(inside) ?? [];
  return {
    attest: found('attest'),
    signature: found('signature'),
    ak: found('ak'),
    pcrs: found('pcrs'),
    extraData: found('extraData'),
    bootLog: found('bootLog'),
    userspaceLog: found('userspaceLog'),
    imaList: found('imaList'),
    ekCertificates: named.ekCertificates ?? certificates,
  };
}

/** The path of a part that evidence cannot do without. */
export function requirePart(paths: BundlePaths, part: 'attest' | 'signature' | 'ak'): string {
  const path = paths[part];
  if (path === undefined) {
    throw new UsageError(`no ${part}: name it by --${part}, or a folder that holds ${BUNDLE_NAMES[part].join(' or ')}`);
  }
  return path;
}

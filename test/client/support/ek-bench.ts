import { makeIntermediate, makeRoot, NOW, pem } from '../../support/test-ek-pki.ts';
import { Shell } from './shell.ts';

/** What a test reads of the report on an EK certificate. */
export interface EkReport {
  readonly form: string;
  readonly certificate: Readonly<Record<string, unknown>>;
  readonly tpm: unknown;
  readonly chain: readonly { readonly subject: string }[];
  readonly path: { readonly status: string; readonly certificates?: readonly { readonly subject: string }[] };
  readonly deviations: readonly { readonly code: string }[];
  readonly findings: readonly { readonly code: string; readonly severity: string }[];
}

export const anchors = ['--trust-anchors', 'anchors'] as const;
export const codesOf = ({ findings }: EkReport): readonly string[] => findings.map(({ code }) => code);

/** A shell with the CA certificates of the test PKI in the folder `anchors`. */
export class EkBench {
  readonly shell: Shell;

  private constructor(shell: Shell) {
    this.shell = shell;
    shell.time = NOW;
    this.keep({ 'anchors/root.pem': pem('CERTIFICATE', makeRoot()), 'anchors/sub.der': makeIntermediate() });
  }

  static async open(): Promise<EkBench> {
    return new EkBench(await Shell.open());
  }

  keep(files: Readonly<Record<string, string | Buffer>>): void {
    for (const [path, content] of Object.entries(files)) this.shell.binaries.set(path, Buffer.from(content));
  }

  /** Exit code and report of `assay inspect ek-certificate`. */
  async inspect(file: string | Buffer, ...options: readonly string[]): Promise<[number, EkReport]> {
    this.keep({ ek: file });
    this.shell.out = '';
    const code = await this.shell.assay('inspect', 'ek-certificate', 'ek', '--output', 'json', ...options);
    return [code, this.shell.out === '' ? ({} as EkReport) : (JSON.parse(this.shell.out) as EkReport)];
  }
}

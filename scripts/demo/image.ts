/** What runs on the host of the demonstration: files of an image that its vendor signed, and one that nobody did. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { filePlan, sha256, violationPlan } from '../../test/support/measuring-kernel.ts';
import { MeasuringSwtpm } from '../../test/support/measuring-swtpm.ts';
import type { Swtpm } from '../../test/support/swtpm.ts';
import { rsaSigner, signV2 } from '../../test/tpm/ima/signing.ts';

const signer = rsaSigner();
const SIGNED = ['/usr/bin/init', '/usr/bin/hypervisor'] as const;

/** Where nobody signs. */
export const STRANGE_FILE = '/tmp/miner';

export class DemoImage {
  /** The vendor's public key, PEM. */
  readonly keyFile: string;
  readonly #kernel: MeasuringSwtpm;

  constructor(directory: string, tpm: Swtpm) {
    this.keyFile = join(directory, 'vendor.pem');
    this.#kernel = new MeasuringSwtpm(() => tpm.tcti, join(directory, 'ima-list'));
  }

  /** The kernel's list, as an agent reads it. */
  get list(): string {
    return this.#kernel.path;
  }

  /** Starts what the vendor signed; a kernel with IMA measures each file before it runs. */
  async boot(): Promise<readonly string[]> {
    const base64 = signer.spki.toString('base64').replaceAll(/.{64}/g, '$&\n');
    await writeFile(this.keyFile, `-----BEGIN PUBLIC KEY-----\n${base64}\n-----END PUBLIC KEY-----\n`);
    await this.#kernel.begin();
    const plans = SIGNED.map((path) => filePlan(path, path, signV2(signer, 'sha256', sha256(path))));
    await this.#kernel.measure(...plans);
    return SIGNED;
  }

  /** SHA-256 of the vendor's key, by which a keyring names it. */
  get key(): string {
    return signer.key.fingerprint;
  }

  /** A file of the image with another content, under the signature of the former one. Returns its path. */
  async runChangedFile(): Promise<string> {
    const [path] = SIGNED;
    await this.#kernel.measure(filePlan(path, `${path}, changed`, signV2(signer, 'sha256', sha256(path))));
    return path;
  }

  /** A file is written while it is in use. Returns its path. */
  async writeRunningFile(): Promise<string> {
    const [, path] = SIGNED;
    await this.#kernel.measure(violationPlan(path));
    return path;
  }

  async runStrangeFile(): Promise<void> {
    await this.#kernel.measure(filePlan(STRANGE_FILE, 'a coin miner'));
  }
}

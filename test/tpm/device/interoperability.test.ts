import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { makeCredential } from '../../../tpm/crypto/make-credential.ts';
import { objectName } from '../../../tpm/crypto/name.ts';
import type { EndorsementKey } from '../../../tpm/device/endorsement-key.ts';
import { Tpm } from '../../../tpm/device/tpm.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { decodePublicArea, decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { type Swtpm, startSwtpm } from '../../support/swtpm.ts';

const run = promisify(execFile);

/** tpm2_makecredential's file: magic, version, then both structures with their sizes. */
const CREDENTIAL_FILE_HEADER = Buffer.from('badcc0de00000001', 'hex');

let swtpm: Swtpm;
let tpm: Tpm;
let eks: readonly EndorsementKey[];

beforeAll(async () => {
  swtpm = await startSwtpm();
  tpm = await Tpm.open({ tcti: swtpm.tcti });
  eks = await tpm.endorsementKeys();
});

afterAll(async () => {
  await tpm?.close();
  await swtpm?.stop();
});

function ekOf(template: string): EndorsementKey {
  const ek = eks.find((candidate) => candidate.template === template);
  if (ek === undefined) throw new Error(`no endorsement key ${template}`);
  return ek;
}

function file(name: string): string {
  return join(swtpm.directory, name);
}

async function tool(name: string, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti };
  return (await run(name, args, { env, cwd: swtpm.directory })).stdout;
}

function parseCredentialFile(bytes: Buffer): { credentialBlob: Buffer; encryptedSecret: Buffer } {
  expect(bytes.subarray(0, 8)).toEqual(CREDENTIAL_FILE_HEADER);
  const split = 8 + 2 + bytes.readUInt16BE(8);
  return { credentialBlob: bytes.subarray(8, split), encryptedSecret: bytes.subarray(split) };
}

describe('tpm2-tools', () => {
  it.each(['L-1', 'H-3'])('makes credentials that open here, under %s', async (template) => {
    const ek = ekOf(template);
    const ak = await tpm.loadAk(ek, await tpm.createAk(ek));
    try {
      const secret = randomBytes(32);
      const publicArea = decodePublicArea(ek.publicArea).raw;
      const size = Buffer.alloc(2);
      size.writeUInt16BE(publicArea.length);
      await writeFile(file('ek.pub'), Buffer.concat([size, publicArea]));
      await writeFile(file('secret'), secret);

      const name = objectName(ak.publicArea).toString('hex');
      await tool('tpm2_makecredential', '-T', 'none', '-u', 'ek.pub', '-s', 'secret', '-n', name, '-o', 'credential');

      const credential = parseCredentialFile(await readFile(file('credential')));
      expect(await tpm.activateCredential(ek, ak, credential)).toEqual(secret);
    } finally {
      await ak.flush();
    }
  });

  it('opens credentials that are made here', async () => {
    await tool(
      'tpm2_createak',
      '-C',
      '0x81010001',
      '-c',
      'ak.ctx',
      '-G',
      'ecc',
      '-g',
      'sha256',
      '-s',
      'ecdsa',
      '-u',
      'ak.pub',
    );
    const akName = objectName(decodeSizedPublicArea(await readFile(file('ak.pub'))));
    const secret = randomBytes(32);
    const ek = decodePublicArea(ekOf('L-1').publicArea);
    const { credentialBlob, encryptedSecret } = makeCredential({ ek, akName }, secret, { random: randomBytes });
    await writeFile(file('credential'), Buffer.concat([CREDENTIAL_FILE_HEADER, credentialBlob, encryptedSecret]));

    await tool('tpm2_startauthsession', '--policy-session', '-S', 'session.ctx');
    await tool('tpm2_policysecret', '-S', 'session.ctx', '-c', 'e');
    await tool(
      ...(['tpm2_activatecredential', '-c', 'ak.ctx', '-C', '0x81010001', '-i', 'credential'] as const),
      ...['-o', 'opened', '-P', 'session:session.ctx'],
    );
    await tool('tpm2_flushcontext', 'session.ctx');
    // Without a resource manager the tools leave in the TPM what they load.
    await tool('tpm2_flushcontext', '-t');

    expect(await readFile(file('opened'))).toEqual(secret);
  });

  it.each(['ecdsa-p256-sha256', 'rsassa-2048-sha256'] as const)('verifies quotes made here: %s', async (algorithm) => {
    const ek = ekOf('L-1');
    const created = await tpm.createAk(ek, { algorithm });
    const ak = await tpm.loadAk(ek, created);
    try {
      const qualifyingData = randomBytes(32);
      const selection = [{ hash: TPM_ALG_SHA256, pcrs: [0, 1, 2, 10] }];
      const quoted = await tpm.quote(ak, { qualifyingData, selection });
      await Promise.all([
        writeFile(file('quote'), quoted.attest),
        writeFile(file('signature'), quoted.signature),
        writeFile(file('quoter.pub'), created.publicBlob),
      ]);

      await tool('tpm2_print', '-t', 'TPM2B_PUBLIC', '-f', 'pem', 'quoter.pub').then((pem) =>
        writeFile(file('quoter.pem'), pem),
      );
      const nonce = qualifyingData.toString('hex');
      await tool('tpm2_checkquote', '-u', 'quoter.pem', '-m', 'quote', '-s', 'signature', '-g', 'sha256', '-q', nonce);
      await expect(
        tool('tpm2_checkquote', '-u', 'quoter.pem', '-m', 'quote', '-s', 'signature', '-g', 'sha256', '-q', '00'),
      ).rejects.toThrow();
    } finally {
      await ak.flush();
    }
  });

  it('reads the PCRs that are extended here', async () => {
    await tpm.pcrExtend(16, [{ hash: TPM_ALG_SHA256, digest: randomBytes(32) }]);
    const [reading] = await tpm.pcrRead([{ hash: TPM_ALG_SHA256, pcrs: [16] }]);

    const printed = await tool('tpm2_pcrread', 'sha256:16');
    expect(printed.toLowerCase()).toContain(reading?.value.toString('hex'));
  });
});

import { execFile } from 'node:child_process';
import { X509Certificate, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { makeCredential } from '../../../tpm/crypto/make-credential.ts';
import { type EndorsementKey, withEndorsementKey } from '../../../tpm/device/endorsement-key.ts';
import { createAk, loadAk, activateCredential } from '../../../tpm/device/attestation-key.ts';
import { ekPolicyB } from '../../../tpm/device/ek-policy.ts';
import { withPrimary } from '../../../tpm/device/primary.ts';
import { EK_TEMPLATES, withNonce } from '../../../tpm/device/templates.ts';
import { Tpm } from '../../../tpm/device/tpm.ts';
import { Tss } from '../../../tpm/device/tss.ts';
import { TPMA_OBJECT } from '../../../tpm/structures/object-attributes.ts';
import { type PublicArea, decodePublicArea, makePublicArea } from '../../../tpm/structures/public-area.ts';
import { type Swtpm, startSwtpm } from '../../support/swtpm.ts';

const run = promisify(execFile);

async function tool(swtpm: Swtpm, name: string, ...args: readonly string[]): Promise<void> {
  const env = { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti };
  await run(name, args, { env, cwd: swtpm.directory });
}

async function writeIndex(swtpm: Swtpm, index: number, bytes: Buffer): Promise<void> {
  const name = `0x${index.toString(16)}`;
  await writeFile(join(swtpm.directory, name), bytes);
  const attributes = 'ownerread|authread|ownerwrite|authwrite|no_da';
  await tool(swtpm, 'tpm2_nvdefine', name, '-C', 'o', '-s', String(bytes.length), '-a', attributes);
  await tool(swtpm, 'tpm2_nvwrite', name, '-C', 'o', '-i', name);
}

async function endorsementKeys(swtpm: Swtpm): Promise<readonly EndorsementKey[]> {
  await using tpm = await Tpm.open({ tcti: swtpm.tcti });
  return await tpm.endorsementKeys();
}

function template(name: string): PublicArea {
  const found = EK_TEMPLATES.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no template ${name}`);
  return found.publicArea;
}

describe('endorsement keys', () => {
  it('are the low-range RSA key alone on a TPM with neither certificate nor persistent key', async () => {
    await using swtpm = await startSwtpm({ ekCertificates: false });
    const eks = await endorsementKeys(swtpm);

    expect(eks.map(({ template: name, location, certificate }) => [name, location.kind, certificate])).toEqual([
      ['L-1', 'primary', undefined],
    ]);
  });

  it('are the same keys from their templates as in the persistent handles', async () => {
    await using swtpm = await startSwtpm();
    const persistent = await endorsementKeys(swtpm);
    await tool(swtpm, 'tpm2_evictcontrol', '-C', 'o', '-c', '0x81010001');
    await tool(swtpm, 'tpm2_evictcontrol', '-C', 'o', '-c', '0x81010016');
    const made = await endorsementKeys(swtpm);

    expect(persistent.map(({ location }) => location.kind)).toEqual(['persistent', 'persistent']);
    expect(made.map(({ location }) => location.kind)).toEqual(['primary', 'primary']);
    expect(made.map(({ publicArea }) => publicArea)).toEqual(persistent.map(({ publicArea }) => publicArea));
  });

  it('use a certificate, a nonce and a chain from NV', async () => {
    await using swtpm = await startSwtpm({ ekCertificates: false });
    const nonce = randomBytes(20);
    const issued = await startSwtpm();
    const [donor] = await endorsementKeys(issued);
    const chain = issued.caCertificates.map(({ pem }) => new X509Certificate(pem).raw);
    await issued.stop();
    if (donor?.certificate === undefined) throw new Error('no certificate');
    const concatenated = Buffer.concat([...chain, Buffer.alloc(9, 0xff)]);
    await writeIndex(swtpm, 0x01c0000a, Buffer.concat([donor.certificate, Buffer.alloc(100)]));
    await writeIndex(swtpm, 0x01c0000b, nonce);
    await writeIndex(swtpm, 0x01c00100, concatenated.subarray(0, 700));
    await writeIndex(swtpm, 0x01c00101, concatenated.subarray(700));

    const [ek, ...others] = await endorsementKeys(swtpm);

    expect(others).toEqual([]);
    expect(ek?.template).toBe('L-2');
    expect(ek?.certificate).toEqual(donor.certificate);
    expect(ek?.chain).toEqual(chain);
    expect(ek?.location).toEqual({ kind: 'primary', template: withNonce(template('L-2'), nonce) });
  });

  it('use a template from NV', async () => {
    await using swtpm = await startSwtpm({ ekCertificates: false });
    const base = template('L-1');
    const stored = withNonce(base, Buffer.from('assay'));
    await writeIndex(swtpm, 0x01c00004, stored?.raw ?? Buffer.alloc(0));
    const [ek] = await endorsementKeys(swtpm);

    expect(ek?.location).toEqual({ kind: 'primary', template: stored });
  });

  it('are not taken from a persistent handle that holds another key', async () => {
    await using swtpm = await startSwtpm();
    await tool(swtpm, 'tpm2_evictcontrol', '-C', 'o', '-c', '0x81010001');
    await tool(swtpm, 'tpm2_createprimary', '-C', 'o', '-c', 'srk.ctx');
    await tool(swtpm, 'tpm2_evictcontrol', '-C', 'o', '-c', 'srk.ctx', '0x81010001');
    await tool(swtpm, 'tpm2_flushcontext', '-t');
    const [ek] = await endorsementKeys(swtpm);

    expect(ek?.template).toBe('L-1');
    expect(ek?.location.kind).toBe('primary');
  });

  it('that are replaced after they were found are refused', async () => {
    await using swtpm = await startSwtpm();
    await using tpm = await Tpm.open({ tcti: swtpm.tcti });
    const [ek, other] = await tpm.endorsementKeys();
    if (ek === undefined || other === undefined) throw new Error('two endorsement keys were expected');

    await expect(tpm.createAk({ ...ek, publicArea: other.publicArea })).rejects.toMatchObject({ code: 'KEY_CHANGED' });
  });
});

describe('endorsement keys made from templates', () => {
  let swtpm: Swtpm;

  beforeAll(async () => {
    swtpm = await startSwtpm({ ekCertificates: false });
  });

  afterAll(() => swtpm?.stop());

  it.each(EK_TEMPLATES.filter(({ name }) => name !== 'H-7').map(({ name }) => name))(
    'of every template make, load and activate: %s',
    (name) => activatesUnder(swtpm, template(name)),
  );

  it('of a key that has PolicyB alone activate through both of its branches', async () => {
    const base = template('H-3');
    const policyOnly = makePublicArea({ ...base, objectAttributes: base.objectAttributes & ~TPMA_OBJECT.userWithAuth });
    expect(policyOnly.authPolicy).toEqual(ekPolicyB(base.nameAlg));

    await activatesUnder(swtpm, policyOnly);
  });

  it('of a key with a policy of its own are not supported', async () => {
    const strange = makePublicArea({ ...template('L-2'), authPolicy: randomBytes(32) });

    await expect(activatesUnder(swtpm, strange)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

async function activatesUnder(swtpm: Swtpm, ekTemplate: PublicArea): Promise<void> {
  const tss = await Tss.open(swtpm.tcti);
  try {
    await tss.exclusively(async () => {
      const publicArea = (await withPrimary(tss, ekTemplate, async (_, made) => made)).raw;
      const location = { kind: 'primary', template: ekTemplate } as const;
      const ek: EndorsementKey = { template: 'L-1', publicArea, chain: [], location };
      await withEndorsementKey(tss, ek, async (handle) => expect(handle).toBeGreaterThan(0));
      const ak = await loadAk(tss, ek, await createAk(tss, ek, 'ecdsa-p256-sha256'));
      const secret = randomBytes(32);
      const subject = { ek: decodePublicArea(publicArea), akName: ak.name };
      const credential = makeCredential(subject, secret, { random: randomBytes });
      expect(await activateCredential(tss, ek, ak.handle, credential)).toEqual(secret);
    });
  } finally {
    await tss.close();
  }
}
